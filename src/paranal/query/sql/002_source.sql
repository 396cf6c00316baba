-- A country's own records. Nothing here is ever copied to another country.
CREATE SCHEMA source AUTHORIZATION "paranal-owner";
SET ROLE "paranal-owner";

-- Every import of a source: that it has one is what lets a country say OK (a source without data is silent).
CREATE TABLE source.load (
    source    text NOT NULL PRIMARY KEY CHECK (source ~ '^[a-z][a-z0-9_-]{0,39}$'),
    records   integer NOT NULL CHECK (records >= 0),
    loaded_at timestamptz NOT NULL DEFAULT now(),
    digest    text
);
COMMENT ON COLUMN source.load.digest IS 'SHA-256 of the rows that the last replacement brought; null after an addition.';
COMMENT ON TABLE source.load IS 'Sources that hold data, and when each was last loaded.';

CREATE TABLE source.record (
    source          text NOT NULL REFERENCES source.load (source)
                    ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    record          text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('RQ', 'ANT')),
    offence_code    text NOT NULL,
    offence_class   text,
    surnames        text NOT NULL,
    given_names     text,
    date_of_birth   text,
    sex             char(1) NOT NULL CHECK (sex IN ('F', 'M', 'X')),
    nationality     text NOT NULL,
    document_type   text,
    document_number text,
    document_issuer text,
    document_key    text,
    identity_key    text,
    PRIMARY KEY (source, record),
    CHECK (document_key IS NOT NULL OR identity_key IS NOT NULL)
);
COMMENT ON COLUMN source.record.record IS 'The source''s own number of the record.';
COMMENT ON COLUMN source.record.offence_code IS 'The national offence code.';
COMMENT ON COLUMN source.record.offence_class IS 'The shared class it maps to; without one the record never answers (R2).';
COMMENT ON COLUMN source.record.document_key IS 'paranal.query.match.keys: issuer, kind and number of the document.';
COMMENT ON COLUMN source.record.identity_key IS 'paranal.query.match.keys: the whole normalised identity.';

CREATE INDEX record_document ON source.record (document_key) WHERE offence_class IS NOT NULL;
CREATE INDEX record_identity ON source.record (identity_key) WHERE offence_class IS NOT NULL;

-- The adapter: a country with its own tables replaces this view, and only this view.
CREATE VIEW source.answerable WITH (security_barrier) AS
    SELECT source, kind, document_key, identity_key
      FROM source.record
     WHERE offence_class IS NOT NULL;

-- The alliance service can look one person up; it can list nobody. A row without a kind names a source that holds data.
CREATE FUNCTION source.find(document text, identities text[]) RETURNS TABLE (source text, kind text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT load.source, NULL FROM source.load
    UNION ALL
    SELECT hit.source, hit.kind FROM source.answerable AS hit WHERE hit.document_key = document
    UNION ALL
    SELECT hit.source, hit.kind FROM source.answerable AS hit WHERE hit.identity_key = ANY (identities)
$$;
REVOKE ALL ON FUNCTION source.find(text, text[]) FROM PUBLIC;

GRANT USAGE ON SCHEMA source TO "paranal-alliance", "paranal-source";
GRANT EXECUTE ON FUNCTION source.find(text, text[]) TO "paranal-alliance";
GRANT SELECT, INSERT, UPDATE ON source.load TO "paranal-source";
GRANT SELECT (source), INSERT, DELETE ON source.record TO "paranal-source";
RESET ROLE;

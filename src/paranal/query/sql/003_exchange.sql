-- The log of both sides: that a question was asked or answered, by whom and how it came out; never about whom.
CREATE SCHEMA exchange AUTHORIZATION "paranal-owner";
SET ROLE "paranal-owner";

CREATE TABLE exchange.query (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL,
    asker      char(2) NOT NULL,
    answerer   char(2) NOT NULL,
    service    text NOT NULL,
    role       text NOT NULL CHECK (role IN ('asked', 'answered')),
    outcome    text NOT NULL
               CHECK (outcome IN ('OK', 'RQ', 'ANT', 'NOT_AUTHORISED', 'REFUSED', 'TIMEOUT', 'UNAVAILABLE')),
    elapsed_ms double precision NOT NULL CHECK (elapsed_ms >= 0),
    at         timestamptz NOT NULL,
    post       text,
    officer    text,
    purpose    text NOT NULL,
    UNIQUE (request_id, asker, answerer, service, role)
);
COMMENT ON TABLE exchange.query IS 'Append-only. A question is answered only after its row is committed.';

CREATE INDEX query_last ON exchange.query (asker, answerer, service, role, at DESC);

CREATE FUNCTION exchange.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'exchange.query is append-only: % refused', TG_OP;
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON exchange.query
    FOR EACH STATEMENT EXECUTE FUNCTION exchange.refuse_change();

-- The last question of a direction that got a code, as each side saw it; NULL when there is none. For `paranal status`,
-- which asks as postgres.
CREATE FUNCTION exchange.last_good(
    asker text, answerer text, service text DEFAULT 'person', role text DEFAULT NULL
) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT max(entry.at)
      FROM exchange.query AS entry
     WHERE entry.asker = last_good.asker
       AND entry.answerer = last_good.answerer
       AND entry.service = last_good.service
       AND (last_good.role IS NULL OR entry.role = last_good.role)
       AND entry.outcome IN ('OK', 'RQ', 'ANT')
$$;
REVOKE ALL ON FUNCTION exchange.last_good(text, text, text, text) FROM PUBLIC;

GRANT USAGE ON SCHEMA exchange TO "paranal-national", "paranal-alliance";
GRANT INSERT ON exchange.query TO "paranal-national", "paranal-alliance";
RESET ROLE;

"""Files that ansible-vault has encrypted, opened in a playbook under the country's own vault id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from paranal.messages import Refusal


def opener(loader: DataLoader) -> Callable[[Path], bytes]:
    """Return what reads a file for ``read_passphrase``, encrypted by ansible-vault or not.

    ``loader`` is an action plugin's, which has the secrets of ``--vault-id``. What it returns
    raises ``OSError``, or ``Refusal`` PAR-0402 where no secret fits.
    """

    def read(path: Path) -> bytes:
        path.open("rb").close()  # a file that cannot be read is no matter of the vault
        try:
            return str(loader.get_text_file_contents(str(path))).encode()
        except AnsibleError:
            raise Refusal("PAR-0402", path=path, reason="ansible-vault: --vault-id?") from None

    return read

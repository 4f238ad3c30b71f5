"""The key that locks the noise to come while it lies on disk for a replay.

What is locked is of no use without the key file, which lies apart from it: a copy of the folder of an
unfinished training, in a backup or an upload, gives the noise away to nobody. Whoever may read both, as the
account that trains, can unlock it; what protects against that is that it is overwritten in the end.

AES-256-GCM (NIST SP 800-38D) with a nonce from the operating system for each lock. Run, stream, step and
rows are authenticated with it: what was locked for another training, or another step of this one, is refused.
"""

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from auditkit.errors import PrivacyRefusedError

VARIABLE = "AUDITKIT_REPLAY_KEY_FILE"
KEY_BYTES, _NONCE_BYTES = 32, 12
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class ReplayKey:
    """One key file, for one set of rows.

    Attributes:
        file: 32 bytes that nobody but their owner may read.
        fingerprint: Of the rows.
    """

    file: Path
    fingerprint: str

    def make_if_absent(self, locked: Path) -> None:
        """See that there is a usable key before anything is locked, and that it lies apart.

        Args:
            locked: The folder of what it locks.

        Raises:
            PrivacyRefusedError: It lies beside what it locks, or cannot be used.
        """
        if self.file.resolve().is_relative_to(locked.resolve().parent):
            raise PrivacyRefusedError(
                f"{self.file}: lies beside what it locks ({locked}), so that whoever copies one has both. "
                f"Set {VARIABLE} to a file elsewhere"
            )
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            self._secret()
            return
        except OSError as error:
            raise PrivacyRefusedError(
                f"{self.file}: the key for a replay cannot be written: {error}"
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def lock(self, content: bytes, *, about: str) -> str:
        """``content`` as text that only the key unlocks.

        Raises:
            PrivacyRefusedError: The key file is absent or cannot be used.
        """
        nonce = os.urandom(_NONCE_BYTES)
        locked = AESGCM(self._secret()).encrypt(nonce, content, self._authenticated(about))
        return base64.b64encode(nonce + locked).decode()

    def unlock(self, text: str, *, about: str) -> bytes:
        """What :meth:`lock` was given.

        Raises:
            PrivacyRefusedError: The key file is absent or another, or ``text`` was locked for something else.
        """
        cipher = AESGCM(self._secret())
        try:
            locked = base64.b64decode(text)
            nonce, rest = locked[:_NONCE_BYTES], locked[_NONCE_BYTES:]
            return cipher.decrypt(nonce, rest, self._authenticated(about))
        except (InvalidTag, ValueError) as error:
            raise PrivacyRefusedError(
                f"{self.file}: does not unlock the noise that was kept: it is another key, or the noise is "
                f"of another training or damaged. {_REMEDY}"
            ) from error

    def _authenticated(self, about: str) -> bytes:
        return f"auditkit replay\0{self.fingerprint}\0{about}".encode()

    def _secret(self) -> bytes:
        try:
            secret, mode = self.file.read_bytes(), self.file.stat().st_mode
        except OSError as error:
            raise PrivacyRefusedError(
                f"{self.file}: the key of the noise that was kept cannot be read: {error.strerror}. {_REMEDY}"
            ) from error
        if os.name == "posix" and mode & _OTHERS:
            raise PrivacyRefusedError(
                f"{self.file}: others than its owner may read the key (mode {mode & 0o777:o}). chmod 600 it"
            )
        if len(secret) != KEY_BYTES:
            raise PrivacyRefusedError(
                f"{self.file}: expected a key of {KEY_BYTES} bytes, got {len(secret)}. {_REMEDY}"
            )
        return secret


_REMEDY = (
    f"Put the key back, or set {VARIABLE} to where it lies. Without --replay the training goes on with fresh "
    "noise, and the steps that it repeats are charged again"
)

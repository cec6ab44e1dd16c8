"""The certificate files of a TLS client, checked before anything connects."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import UsageError
from schemas.secret import Secret

_FILES: Final = ("ca_file", "certificate_file", "key_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """PEM files of one connection; `section` is the settings section that messages name.

    ca_file: what vouches for the server; None = the system's.
    certificate_file, key_file: the client's own; both or neither, maybe the same file.
    """

    section: str
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None

    def ssl_context(self) -> ssl.SSLContext:
        """Make a client's context of them; raises UsageError that names the key of what cannot be used."""
        self._check()
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.section}.ca_file: {self.ca_file} holds no PEM certificate: {error}") from error
        if self.certificate_file is not None:
            self._load_certificate(context, self.certificate_file)
        return context

    def _check(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise UsageError(
                f"{self.section}.certificate_file and {self.section}.key_file go together: give both, or one file twice"
            )
        if self.key_password is not None and self.key_file is None:
            raise UsageError(f"{self.section}.key_password is set without {self.section}.key_file")
        for key in _FILES:
            file = getattr(self, key)
            if file is not None and not file.is_file():
                raise UsageError(f"{self.section}.{key}: there is no file {file}")

    def _load_certificate(self, context: ssl.SSLContext, certificate_file: Path) -> None:
        try:
            # An empty password fails on an encrypted key; None would make OpenSSL ask at the terminal.
            password = "" if self.key_password is None else self.key_password.reveal()
            context.load_cert_chain(certificate_file, self.key_file, password)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{self.section}.certificate_file {certificate_file} cannot be used with {self.section}.key_file "
                f"{self.key_file}: they must be a PEM certificate and its key; an encrypted key needs the right "
                f"key_password ({error})"
            ) from error

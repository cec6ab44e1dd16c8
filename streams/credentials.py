"""TLS and SASL in Faust's form."""

import faust
from faust.types.auth import CredentialsT

from streams.oauth import BearerTokens
from streams.security import SecuritySettings


def broker_credentials(security: SecuritySettings) -> CredentialsT | None:
    """Turn TLS and SASL into Faust's form, which consumer, producer and the changelogs' clients all read."""
    context = security.ssl_context()
    if not security.uses_sasl:
        return None if context is None else faust.SSLCredentials(context)
    if security.tokens is not None:
        return faust.OAuthCredentials(oauth_cb=BearerTokens(security.tokens), ssl_context=context)
    assert security.password is not None
    return faust.SASLCredentials(
        username=security.username,
        password=security.password.reveal(),
        mechanism=security.mechanism,
        ssl_context=context,
    )

"""The access token and its app, stored so that no printed value shows a secret."""

import hashlib
from dataclasses import dataclass

from pydantic import SecretStr

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.known_secrets import register_secret
from adwarm.model import Scope, ScopeKind
from adwarm.settings import SourceSettings


@dataclass(frozen=True, slots=True)
class MetaCredentials:
    """The credentials of a connection. From its creation on, every text of this process hides them.

    Attributes:
        app_id: names the app's capacity scope; without it, the token's scope stands for the app.
        app_secret: signs the token in every call when set.
    """

    access_token: SecretStr
    app_id: str | None = None
    app_secret: SecretStr | None = None

    def __post_init__(self) -> None:
        for secret in (self.access_token, self.app_secret):
            register_secret(secret.get_secret_value() if secret else None)

    @classmethod
    def from_settings(cls, settings: SourceSettings) -> "MetaCredentials":
        """Return the credentials in the settings.

        Raises:
            BadRequest: there is no token.
        """
        if settings.access_token is None or not settings.access_token.get_secret_value():
            raise BadRequest("there is no access token; set ADWARM_SOURCE__ACCESS_TOKEN or name a connection")
        return cls(settings.access_token, settings.app_id, settings.app_secret)

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change when the token, the app or its secret does."""
        secret = self.app_secret.get_secret_value() if self.app_secret else ""
        parts = "\0".join([self.access_token.get_secret_value(), self.app_id or "", secret])
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    @property
    def token_scope(self) -> Scope:
        """The token's capacity scope, named by a hash."""
        digest = hashlib.sha256(self.access_token.get_secret_value().encode()).hexdigest()
        return Scope(ScopeKind.TOKEN, digest[:12])

    @property
    def app_scope(self) -> Scope:
        """The app's capacity scope."""
        return Scope(ScopeKind.APP, self.app_id) if self.app_id else self.token_scope

"""The options about the workspace: where it is, how the agent proves who it is, and whom it trusts."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from oase_agent.config import values
from oase_agent.config.options import ByteBounds, OptionGroup, file_option, option
from oase_agent.config.values import KIB, MIB, ByteCount, ReadableFile, from_text
from oase_agent.model import NO_SECRET, Secret


class WorkspaceOptions(OptionGroup):
    """Workspace that events go to."""

    url: Annotated[str, AfterValidator(values.base_url)] = option(
        "EXASTRO_URL",
        "Base URL of the Exastro platform. A trailing slash does no harm.",
        must_be="an http:// or https:// URL without user, query and fragment",
    )
    organization_id: Annotated[str, AfterValidator(values.identifier)] = option(
        "EXASTRO_ORGANIZATION_ID", "Organization.", must_be="1 to 36 of the characters a-z A-Z 0-9 _ -"
    )
    workspace_id: Annotated[str, AfterValidator(values.identifier)] = option(
        "EXASTRO_WORKSPACE_ID", "Workspace.", must_be="1 to 36 of the characters a-z A-Z 0-9 _ -"
    )
    max_post_bytes: Annotated[ByteCount, ByteBounds(64 * KIB, 16 * MIB)] = option(
        "MAX_POST_BYTES",
        "Upper bound of one POST. A gateway in front of the workspace often allows 1 MiB.",
        must_be="a number of bytes",
        default="512 KiB",
        new=True,
    )


class CredentialOptions(OptionGroup):
    """Credentials.

    One of the two ways is needed: a refresh token, or user name and password. The refresh token goes first.
    """

    refresh_token: Annotated[Secret, from_text(values.refresh_token)] = option(
        "EXASTRO_REFRESH_TOKEN",
        "Refresh token of the service account user; it is exchanged for access tokens.",
        must_be="the token that the workspace showed when it was issued, or leave it empty and set "
        "EXASTRO_USERNAME and EXASTRO_PASSWORD",
        default=NO_SECRET,
        default_text="–",
    )
    username: Annotated[str | None, Field(repr=False)] = option(
        "EXASTRO_USERNAME",
        "User name for HTTP Basic. Deprecated: prefer a refresh token.",
        must_be="a user name",
        default=None,
        default_text="–",
    )
    password: Annotated[Secret, from_text(values.secret)] = option(
        "EXASTRO_PASSWORD",
        "Password of `EXASTRO_USERNAME`.",
        must_be="a password",
        default=NO_SECRET,
        default_text="–",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.refresh_token or (self.username and self.password):
            return self
        if self.username or self.password:
            missing = "EXASTRO_PASSWORD" if self.username else "EXASTRO_USERNAME"
            raise ValueError(f"{missing} is not set: it is needed together with the other one of the pair.")
        raise ValueError(
            "There are no credentials: set EXASTRO_REFRESH_TOKEN, or EXASTRO_USERNAME and EXASTRO_PASSWORD."
        )


class WorkspaceTlsOptions(OptionGroup):
    """Trust and identity towards the workspace.

    The workspace's certificate is always verified.
    """

    ca_file: ReadableFile | None = file_option(
        "CA_FILE", "Certificates of authorities to trust beside the system's, in PEM."
    )
    cert_file: ReadableFile | None = file_option(
        "CLIENT_CERT_FILE", "Certificate that the agent shows, in PEM."
    )
    key_file: ReadableFile | None = file_option(
        "CLIENT_KEY_FILE", "Key of that certificate, if it is not in the same file."
    )

    @model_validator(mode="after")
    def _key_belongs_to_a_certificate(self) -> Self:
        if self.key_file and not self.cert_file:
            raise ValueError("CLIENT_KEY_FILE is set without CLIENT_CERT_FILE: set both, or neither.")
        return self

"""What the files of the AWS command line say: the keys and the region of a profile. The object store's library reads
the environment alone."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Unusable", "profile"]

_STATIC = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_OPTIONS = {**{name: name for name in _STATIC}, "region": "aws_region", "endpoint_url": "aws_endpoint_url"}
_VARIABLES = {"aws_region": ("AWS_REGION", "AWS_DEFAULT_REGION"), "aws_endpoint_url": ("AWS_ENDPOINT_URL",)}
_ELSEWHERE = ("sso_session", "sso_start_url", "role_arn", "credential_process", "login_session")
"""Settings by which a profile gets its keys from a program or a service."""


class Unusable(Exception):
    """A profile that cannot be used. The message is one line, with the next step."""


def profile(environ: Mapping[str, str]) -> dict[str, str]:
    """The options of obstore's S3Store that the profile gives and the environment does not.

    Raises Unusable: the profile that ``$AWS_PROFILE`` names is in no file, a file cannot be read, or the profile gets
    its keys from elsewhere (single sign-on, a role, a program).
    """
    asked = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    name = asked or "default"
    home = Path(environ.get("HOME") or "/")
    keys = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials")
    config = Path(environ.get("AWS_CONFIG_FILE") or home / ".aws" / "config")
    section = name if name == "default" else f"profile {name}"
    said = {**_section(config, section), **_section(keys, name)}
    if asked and not said:
        raise Unusable(f"$AWS_PROFILE is '{name}', and neither {keys} nor {config} has such a profile")
    given = all(environ.get(variable.upper()) for variable in _STATIC[:2])  # as with AWS's own tools, these come first
    if not given and not said.get(_STATIC[0]) and (way := next((each for each in _ELSEWHERE if each in said), None)):
        raise Unusable(
            f"the AWS profile '{name}' gets its keys by '{way}', which is not supported here; "
            f'run: eval "$(aws configure export-credentials --profile {name} --format env)"'
        )
    found = {_OPTIONS[key]: value for key, value in said.items() if key in _OPTIONS and value}
    return {
        option: value
        for option, value in found.items()
        if not (given if option in _STATIC else any(environ.get(each) for each in _VARIABLES[option]))
    }


def _section(path: Path, name: str) -> dict[str, str]:
    """The settings of a section; none if the file is not there."""
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        if path.is_file():
            parser.read_string(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except configparser.Error as error:
        line = getattr(error, "lineno", None)
        at = f":{line}" if line else ""
        raise Unusable(f"{path}{at} is not in the format of AWS's files") from error
    return dict(parser[name]) if parser.has_section(name) else {}

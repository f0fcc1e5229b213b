"""Whether a store that failed may take the same another time, or never will."""

from __future__ import annotations

import errno

from mlflow.exceptions import MlflowException

#: Asking again cannot help; anything else (locked, refused, timed out, 5xx) may pass.
_CODES = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
#: The same of a file system.
_NUMBERS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENOTSUP),
}
#: The same of a server, but for what begins with 5: it timed out, or is asked too often.
_STATUS = {408, 425, 429}
#: What is raised of a connection, by name, as drivers are not installed everywhere: by Python, requests, boto.
_CONNECTIONS = {"ConnectionError", "TimeoutError", "RequestException", "HTTPClientError"}


def may_pass(error: BaseException) -> bool:
    """Whether it may: an outage, where its cause is no lasting one."""
    if (status := _status(error)) is not None:
        return status >= 500 or status in _STATUS
    if isinstance(error, MlflowException):
        return error.error_code not in _CODES
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno not in _NUMBERS
    return any(kind.__name__ in _CONNECTIONS for kind in type(error).__mro__)


def _status(error: BaseException) -> int | None:
    """What a server answered: of requests, or of boto, whose own error may be the cause of the one that is raised."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
    if answer is not None:
        return int(answer.status_code)
    return _status(error.__context__) if type(error).__name__ == "S3UploadFailedError" and error.__context__ else None

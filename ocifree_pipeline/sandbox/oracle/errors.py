"""Errors as Oracle sends them: HTTP status, code, message. Operations raise them; the frame turns them into replies."""

from collections.abc import Mapping

UNAUTHENTICATED = "The required information to complete authentication was not provided or was incorrect."
HIDDEN = "Authorization failed or requested resource not found."


class OracleError(Exception):
    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def body(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message}


# 304: nothing new, which clients see as an error too


def not_modified(etag: str) -> OracleError:
    """The client's ``if-none-match`` names what is there; HTTP sends no body with it."""
    return OracleError(304, "NotModified", "The resource has not changed", {"etag": etag})


# 400: the request is wrong


def cannot_parse(message: str = "Incorrectly formatted request") -> OracleError:
    return OracleError(400, "CannotParseRequest", message)


def invalid_parameter(message: str) -> OracleError:
    return OracleError(400, "InvalidParameter", message)


def missing_parameter(name: str) -> OracleError:
    return OracleError(400, "MissingParameter", f"{name} is required but was not given")


def limit_exceeded(*limits: str) -> OracleError:
    """The tenancy's service limits refuse it. Real messages list every limit that was hit."""
    return OracleError(400, "LimitExceeded", f"The following service limits were exceeded: {', '.join(limits)}.")


def quota_exceeded(*quotas: str) -> OracleError:
    """A quota policy of the tenancy refuses it."""
    return OracleError(
        400, "QuotaExceeded", f"The following compartment quotas were exceeded: {', '.join(quotas)}. Check the policy."
    )


def related_not_found(message: str = HIDDEN) -> OracleError:
    """The body names a resource that does not exist or may not be seen."""
    return OracleError(400, "RelatedResourceNotAuthorizedOrNotFound", message)


# 401 to 405: who asks, and for what


def not_authenticated(message: str = UNAUTHENTICATED) -> OracleError:
    return OracleError(401, "NotAuthenticated", message)


def not_allowed(message: str) -> OracleError:
    return OracleError(403, "NotAllowed", message)


def not_found(message: str = HIDDEN) -> OracleError:
    """Oracle does not tell "does not exist" from "you may not see it"."""
    return OracleError(404, "NotAuthorizedOrNotFound", message)


def method_not_allowed(method: str) -> OracleError:
    return OracleError(405, "MethodNotAllowed", f"{method} is not supported by this resource")


# 409 to 429: not now, or not like this


def conflict(message: str) -> OracleError:
    return OracleError(409, "Conflict", message)


def incorrect_state(message: str) -> OracleError:
    return OracleError(409, "IncorrectState", message)


def already_exists(code: str, message: str) -> OracleError:
    """Services have codes of their own: CompartmentAlreadyExists, BucketAlreadyExists."""
    return OracleError(409, code, message)


def invalidated_retry_token(message: str) -> OracleError:
    return OracleError(409, "InvalidatedRetryToken", message)


def no_etag_match(etag: str) -> OracleError:
    return OracleError(412, "NoEtagMatch", f"The if-match header does not match the etag of the resource, {etag}")


def too_large(limit: int) -> OracleError:
    return OracleError(413, "RequestEntityTooLarge", f"The request body is larger than {limit} bytes")


def unsupported_media_type(given: str) -> OracleError:
    return OracleError(415, "UnsupportedMediaType", f"Content type {given!r} is not supported; send application/json")


def too_many_requests(message: str = "Too many requests for the user", retry_after: int | None = None) -> OracleError:
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return OracleError(429, "TooManyRequests", message, headers)


# 500 and above: the other side


def internal(message: str = "An internal error occurred.") -> OracleError:
    return OracleError(500, "InternalError", message)


def out_of_host_capacity() -> OracleError:
    """Clients can only tell this from a real fault by its message."""
    return internal("Out of host capacity.")


def not_built(what: str) -> OracleError:
    """The sandbox does not play this part. 501 is the one 5xx that no client retries."""
    return OracleError(501, "MethodNotImplemented", f"The sandbox does not play {what}")


def unavailable(retry_after: int | None = None) -> OracleError:
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return OracleError(503, "ServiceUnavailable", "The service is currently unavailable.", headers)

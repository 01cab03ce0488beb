"""How the API says no: a status, and a message whose first line is the reason phrase."""


class ApiError(Exception):
    def __init__(self, status: int, message: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message.rstrip("\n")
        self.errors = errors or {}

    @property
    def text(self) -> str:
        """As the commands print it."""
        lines = [self.message, *(f"{name}: {why}" for name, why in self.errors.items())]
        prefix = f"{self.status} " if self.status not in {500} else ""
        return prefix + "\n".join(lines) + "\n"


def died(message: str) -> ApiError:
    """An ordinary failure."""
    return ApiError(500, message)


def wrong(**errors: str) -> ApiError:
    return ApiError(
        400, "Parameter verification failed.", {name.replace("__", "-"): why for name, why in errors.items()}
    )


def wrong_parameters(errors: dict[str, str]) -> ApiError:
    return ApiError(400, "Parameter verification failed.", errors)


def forbidden(why: str) -> ApiError:
    return ApiError(403, f"Permission check failed ({why})")


def no_quorum() -> ApiError:
    return ApiError(500, "cluster not ready - no quorum?")

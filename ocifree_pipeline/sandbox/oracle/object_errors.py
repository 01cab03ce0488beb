"""Object Storage has error codes of its own; everything else is in ``errors``."""

from ocifree_pipeline.sandbox.oracle.errors import OracleError, already_exists


def namespace_not_found() -> OracleError:
    text = "You do not have authorization to perform this request, or the requested resource could not be found."
    return OracleError(404, "NamespaceNotFound", text)


def bucket_not_found(bucket: str, namespace: str) -> OracleError:
    return OracleError(
        404,
        "BucketNotFound",
        f"Either the bucket named '{bucket}' does not exist in the namespace '{namespace}' "
        "or you are not authorized to access it",
    )


def bucket_exists(bucket: str, namespace: str) -> OracleError:
    return already_exists(
        "BucketAlreadyExists",
        f"Either the bucket '{bucket}' in namespace '{namespace}' already exists "
        "or you are not authorized to create it",
    )


def bucket_not_empty(bucket: str, what: str) -> OracleError:
    return already_exists("BucketNotEmpty", f"Bucket named '{bucket}' is not empty. Delete all {what} first.")


def bad_bucket_name(bucket: str) -> OracleError:
    return OracleError(
        400,
        "InvalidBucketName",
        f"'{bucket}' is not a valid bucket name: use 1 to 256 letters, digits, periods, hyphens and underscores",
    )


def object_not_found(name: str, bucket: str) -> OracleError:
    return OracleError(404, "ObjectNotFound", f"The object '{name}' was not found in the bucket '{bucket}'")


def bad_object_name(why: str) -> OracleError:
    return OracleError(400, "InvalidObjectName", f"The object name {why}")


def if_none_match_failed(name: str) -> OracleError:
    return OracleError(
        412, "IfNoneMatchFailed", f"The If-None-Match header is '*' but there is an object with the name '{name}'"
    )


def if_match_failed(wanted: str, etag: str | None) -> OracleError:
    have = f"the current ETag is '{etag}'" if etag else "there is no such object"
    return OracleError(412, "IfMatchFailed", f"The If-Match header is '{wanted}' but {have}")


def checksum_differs(algorithm: str, actual: str, header: str, given: str) -> OracleError:
    code = f"UnmatchedContent{algorithm}"
    text = f"The computed {algorithm} of the request body ({actual}) does not match the {header} header ({given})"
    return OracleError(400, code, text)


def bad_range(size: int) -> OracleError:
    headers = {"content-range": f"bytes */{size}"}
    return OracleError(416, "InvalidRange", f"The range lies outside of the object, which has {size} bytes", headers)


def no_such_upload(upload: str) -> OracleError:
    return OracleError(404, "NoSuchUpload", f"The multipart upload '{upload}' does not exist")


def bad_part(why: str) -> OracleError:
    return OracleError(400, "InvalidUploadPart", why)


def retained(name: str, rule: str) -> OracleError:
    return OracleError(
        403,
        "RetentionRuleViolation",
        f"The object '{name}' is protected by the retention rule '{rule}' and cannot be changed or deleted yet",
    )


def storage_exceeded(message: str) -> OracleError:
    return OracleError(400, "StorageQuotaExceeded", message)


def no_such_request() -> OracleError:
    """A pre-authenticated request that never was, has expired or was deleted: clients cannot tell which."""
    return OracleError(404, "NotAuthenticated", "PAR does not exist")

"""
What the LLM providers' failures are called, as data: see ``facts``.

The reference page ``docs/reference/exception-facts.md`` shows these tables, and a test
holds it against them.
"""

from __future__ import annotations

from typing import Final

KINDS: Final = {
    "rate_limit": "too many requests or tokens for now; wait and retry",
    "quota": "what was paid for, or may be spent, is used up; retrying is no use",
    "context_length": "the prompt, or what it asks for, is too long for the model",
    "content_filter": "the prompt or the answer was refused for what it says",
    "auth": "the key, token or permission was refused, or none was found",
    "timeout": "no answer, or not all of it, in time",
    "overloaded": "the provider has no capacity; wait and retry",
    "server_error": "the provider failed, and does not say why; wait and retry",
    "connection": "no connection could be had, or it ended before an answer",
    "stream_cut": "the answer began, and ended before it was complete",
    "bad_request": "the request is wrong in another way; retrying is no use",
}
"""Each ``kind``, and what it means."""

FAMILIES: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "httpx": "httpx",
    "httpx2": "httpx",
    "requests": "requests",
    "botocore": "botocore",
    "google": "google",
}
"""The families, by the package that a class comes from."""

CODES: Final = {
    # OpenAI, and what is compatible with it: error.code, error.type
    "rate_limit_exceeded": "rate_limit",
    "too_many_requests": "rate_limit",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "context_length_exceeded": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "moderation_blocked": "content_filter",
    "invalid_api_key": "auth",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "server_error": "server_error",
    # Anthropic: error.type, error.details.error_code
    "rate_limit_error": "rate_limit",
    "billing_error": "quota",
    "contract_spend_limit_reached": "quota",
    "enforced_spend_limit_reached": "quota",
    "linked_organization_spend_limit_reached": "quota",
    "authentication_error": "auth",
    "permission_error": "auth",
    "timeout_error": "timeout",
    "request_body_timeout": "timeout",
    "overloaded_error": "overloaded",
    "api_error": "server_error",
    # Google: the status, and the reason in its details
    "resource_exhausted": "rate_limit",
    "api_key_invalid": "auth",
    "permission_denied": "auth",
    "unauthenticated": "auth",
    "deadline_exceeded": "timeout",
    "unavailable": "overloaded",
    "internal": "server_error",
    # AWS: Error.Code, with or without the "Exception" at its end
    "limitexceeded": "quota",
    "provisionedthroughputexceeded": "rate_limit",
    "requestlimitexceeded": "rate_limit",
    "throttled": "rate_limit",
    "throttling": "rate_limit",
    "toomanyrequests": "rate_limit",
    "servicequotaexceeded": "quota",
    "accessdenied": "auth",
    "expiredtoken": "auth",
    "incompletesignature": "auth",
    "invalidclienttokenid": "auth",
    "invalidsignature": "auth",
    "missingauthenticationtoken": "auth",
    "signaturedoesnotmatch": "auth",
    "unrecognizedclient": "auth",
    "modeltimeout": "timeout",
    "requesttimeout": "timeout",
    "modelnotready": "overloaded",
    "serviceunavailable": "overloaded",
    "modelstreamerror": "stream_cut",
    "internalserver": "server_error",
    "internalfailure": "server_error",
    "internalerror": "server_error",
}
"""The kind, by the provider's own code, in lower case; what says most."""

CLASSES: Final = {
    "openai": {
        "APITimeoutError": "timeout",
        "APIConnectionError": "connection",
        "ContentFilterFinishReasonError": "content_filter",
        "WebSocketConnectionClosedError": "stream_cut",
    },
    "anthropic": {
        "APITimeoutError": "timeout",
        "APIConnectionError": "connection",
        "CredentialsError": "auth",
    },
    "httpx": {
        "TimeoutException": "timeout",
        "UnsupportedProtocol": "bad_request",
        "LocalProtocolError": "bad_request",
        "TransportError": "connection",
        "InvalidURL": "bad_request",
    },
    "requests": {
        "ConnectTimeout": "timeout",
        "Timeout": "timeout",
        "ConnectionError": "connection",
        "ChunkedEncodingError": "stream_cut",
        "MissingSchema": "bad_request",
        "InvalidSchema": "bad_request",
        "InvalidURL": "bad_request",
        "InvalidHeader": "bad_request",
    },
    "botocore": {
        "ReadTimeoutError": "timeout",
        "ConnectTimeoutError": "timeout",
        "ConnectionError": "connection",
        "ConnectionClosedError": "connection",
        "ResponseStreamingError": "stream_cut",
        "IncompleteReadError": "stream_cut",
        "HTTPClientError": "connection",
        "NoCredentialsError": "auth",
        "PartialCredentialsError": "auth",
        "CredentialRetrievalError": "auth",
        "TokenRetrievalError": "auth",
        "NoAuthTokenError": "auth",
        "ParamValidationError": "bad_request",
    },
    "google": {
        "RetryError": "timeout",
        "TransportError": "connection",
        "GoogleAuthError": "auth",
    },
}
"""The kind, by the names of a class and of those it derives from, nearest first."""

PHRASES: Final = (
    ("maximum context length", "context_length"),
    ("prompt is too long", "context_length"),
    ("exceed context limit", "context_length"),
    ("exceeds the maximum number of tokens", "context_length"),
    ("input is too long", "context_length"),
    ("content management policy", "content_filter"),
    ("content filtering policy", "content_filter"),
    ("credit balance is too low", "quota"),
    ("api key not valid", "auth"),
)
"""What providers write, in lower case, where their code says only "wrong request"."""

CUT_PHRASE: Final = "without sending complete message body"
"""What httpx says of an answer that began."""

STATUSES: Final = {
    401: "auth",
    402: "quota",
    403: "auth",
    407: "auth",
    408: "timeout",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
"""The kind, by the HTTP status; any other 4xx is a bad_request, 5xx a server_error."""

REQUEST_ID_HEADERS: Final = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
)
"""Headers with the provider's id of a request; the first that was sent counts."""

__all__ = [
    "CLASSES",
    "CODES",
    "CUT_PHRASE",
    "FAMILIES",
    "KINDS",
    "PHRASES",
    "REQUEST_ID_HEADERS",
    "STATUSES",
]

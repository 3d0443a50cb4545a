"""
Log each way in which a call of Claude can fail.

    pip install tokenpak-telemetry anthropic
    python anthropic_errors.py

Without --base-url or $ANTHROPIC_BASE_URL, nothing leaves the machine and no key is
needed: the calls go to the demo's server, which fails as the name of the model asks
for.  The records go to $TOKENPAK_LOG_DIR, or to ~/.tokenpak/logs.  To see them
afterwards:

    tokenpak telemetry export --provider anthropic --format csv
"""

import argparse
import os
import time
import uuid
from contextlib import ExitStack

from anthropic import Anthropic

from tokenpak.demo.failures import FAILING_MODELS
from tokenpak.demo.server import serving
from tokenpak.telemetry.error_logger import get_error_logger

logger = get_error_logger()


def ask(client: Anthropic, model: str, prompt: str) -> str | None:
    """Return the answer of *model*, or None if there is none; log it either way."""
    request_id = f"req-{uuid.uuid4()}"
    context: dict[str, object] = {
        "model": model,
        "provider": "anthropic",
        "input_size": len(prompt),
    }
    start = time.perf_counter()
    try:
        # Raw first: so the id is known even if the body turns out to be no JSON.
        response = client.messages.with_raw_response.create(
            model=model,
            max_tokens=100,
            messages=[{"role": "user", "content": prompt}],
        )
        context["provider_request_id"] = response.headers.get("request-id")
        answer = "".join(
            block.text for block in response.parse().content if block.type == "text"
        )
    except Exception as error:
        # Not anthropic.AnthropicError: what the SDK lets through, such as
        # JSONDecodeError, has failed just as well.
        context["duration_ms"] = round((time.perf_counter() - start) * 1000, 3)
        # status_code, provider_request_id, retry_after and kind are added by the
        # logger: the exception itself knows them.
        logger.log_error(request_id, error, context)
        return None
    context["duration_ms"] = round((time.perf_counter() - start) * 1000, 3)
    logger.log_event("completion", request_id, context)
    return answer


def main() -> None:
    """Ask a model that works, then each of those that fail."""
    parser = argparse.ArgumentParser(
        description="Log each way in which a call of Claude can fail."
    )
    parser.add_argument(
        "--base-url",
        default=os.environ.get("ANTHROPIC_BASE_URL"),
        help="such as http://127.0.0.1:8000; default: a demo server of its own",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        help="seconds after which an answer is given up; default: %(default)s",
    )
    arguments = parser.parse_args()
    base_url = arguments.base_url

    with ExitStack() as stack:
        api_key = None  # the SDK's own: $ANTHROPIC_API_KEY
        if base_url is None:
            base_url = stack.enter_context(serving()).url
            api_key = "demo"
            # Not by way of a proxy: the server is right here.
            os.environ["no_proxy"] = "127.0.0.1"
        client = stack.enter_context(
            Anthropic(
                base_url=base_url,
                api_key=api_key,
                timeout=arguments.timeout,
                # Each failure is to be seen.  With retries, the last one is.
                max_retries=0,
            )
        )
        for model in ("claude-sonnet-4", *FAILING_MODELS):
            answer = ask(client, model, "Is all well?")
            print(f"{model:<18}{'failed, logged' if answer is None else answer}")

    # Not needed for safety: what log_error() has accepted is safe.  But now it can be
    # read by everybody.
    logger.flush(timeout=5.0)


if __name__ == "__main__":
    main()

"""What Lambda promises a function of its process: the variables, the current folder and the time zone.

AWS, "Using Lambda environment variables", reserved and unreserved ones. The variables with credentials are not set:
there is nothing behind them. AWS_LAMBDA_RUNTIME_API is a bootstrap's (hitless.runtime.bootstrap).
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path

from hitless.runtime.context import Context

REGION = "us-east-1"
"""Where the function is said to be unless the recipe sets AWS_REGION: AWS's clients cannot be made without one."""
ACCOUNT = "000000000000"
"""Of the function's ARN: none."""


def enter(handler: str, component: str, artifacts: Path, now: float) -> type[Context]:
    """Make this process what a handler expects, before its module is imported; the current folder is `artifacts` then.

    `now` is the time since 1970. Returns the class of its contexts. Raises OSError when `artifacts` cannot be entered.
    """
    given = os.environ
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or REGION
    version = given.get("HITLESS_COMPONENT_VERSION", "$LATEST")
    day = time.strftime("%Y/%m/%d", time.gmtime(now))
    function = Context.of(
        component,
        version=version,
        memory_mb=given.get("HITLESS_MEMORY_MB", "128"),
        arn=f"arn:aws:lambda:{region}:{ACCOUNT}:function:{component}",
        log_group=f"/aws/lambda/{component}",
        log_stream=f"{day}/[{version}]{uuid.uuid4().hex}",
    )
    given.update(
        {
            "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": str(artifacts),
            "LAMBDA_RUNTIME_DIR": str(Path(__file__).parent),
            "AWS_REGION": region,
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.function_version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": function.memory_limit_in_mb,
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group_name,
            "AWS_LAMBDA_LOG_STREAM_NAME": function.log_stream_name,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python{}.{}".format(*sys.version_info),
        }
    )
    for name, value in (
        ("AWS_DEFAULT_REGION", region),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("TZ", ":UTC"),
    ):
        given.setdefault(name, value)
    time.tzset()
    os.chdir(artifacts)
    return function

"""Run the Python blocks of a page in its environment: a line of JSON in, a line of JSON out."""

import contextlib
import io
import json
import os
import sys
import traceback
import warnings

sys.path[0] = ""  # a page imports the modules that it shows
namespace = {"__name__": "__main__"}
replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # what a block starts may print, too
for request in sys.stdin:
    block = json.loads(request)
    os.environ.clear()
    os.environ.update(block["environment"])
    printed, error = io.StringIO(), None
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            code = compile("\n" * block["line"] + block["code"], block["path"], "exec")
            exec(code, namespace)
    except BaseException:  # noqa: BLE001  # the test reports it
        error = traceback.format_exc()
    replies.write(json.dumps({"printed": printed.getvalue(), "error": error}) + "\n")
    replies.flush()

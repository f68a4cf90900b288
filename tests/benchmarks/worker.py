"""One side of a benchmark: a process that waits for requests as JSON lines on stdin and answers on stdout.

It imports nothing but the standard library, since a peer runs it in an environment without lmlib.
"""

import json
import os
import sys
import traceback


def serve(**actions):
    """Answer {"action", "arguments"} with {"result"} or {"error"} until stdin ends; what the actions print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": actions[request["action"]](**request["arguments"])}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

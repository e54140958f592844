"""A scripted provider for docker-compose.yaml: OpenAI's chat completions, with and without streams.

It needs only Python.

    POST /v1/chat/completions   a response that contains the provider's name
    POST /script/500            every request fails with this status from now on; `cut` breaks streams off, and `slow` lets
                                them take eight seconds
    POST /script/200            requests succeed again

Usage: provider.py NAME [PORT]. The default port is 8080; 0 lets the kernel choose. The port is printed.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = sys.argv[1] if len(sys.argv) > 1 else "provider"
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 8080
MAX_BODY = 64 * 1024 * 1024
SLOW_SECONDS, USUAL_SECONDS = 2, 0.05
script = {"now": "200"}


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = min(int(self.headers.get("content-length") or 0), MAX_BODY)
        body = self.rfile.read(length)
        if self.path.startswith("/script/"):
            script["now"] = self.path.removeprefix("/script/")
            return self.reply(200, {"script": script["now"]})
        if not self.path.endswith("/chat/completions"):
            return self.reply(404, {"error": {"message": "no such path", "type": "invalid_request_error"}})
        if script["now"] not in ("200", "cut", "slow"):
            return self.reply(int(script["now"]), {"error": {"message": "as scripted", "type": "server_error"}})
        asked = json.loads(body)
        words = ["Hello ", "from ", NAME, "."]
        usage = {"prompt_tokens": 9, "completion_tokens": len(words), "total_tokens": 9 + len(words)}
        head = {"id": "chatcmpl-scripted", "created": int(time.time()), "model": asked.get("model")}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return self.reply(200, head | {"object": "chat.completion", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        head["object"] = "chat.completion.chunk"
        for word in words:
            self.event(head | {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            if script["now"] == "cut" and word == words[1]:
                return None
            time.sleep(SLOW_SECONDS if script["now"] == "slow" else USUAL_SECONDS)
        self.event(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (asked.get("stream_options") or {}).get("include_usage"):
            self.event(head | {"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def event(self, data):
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def reply(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("", PORT), Provider)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()

"""moto's server, one request at a time, on a free port of 127.0.0.1.

moto says of its own Kinesis put "this function is not safe for concurrency": two requests at once can take the same sequence
number and lose a record. The lock keeps that loss from being taken for one of ours.
"""

import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

app = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()


def one_at_a_time(environ, start_response):
    with lock:
        return list(app(environ, start_response))


server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
print(f"Running on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()

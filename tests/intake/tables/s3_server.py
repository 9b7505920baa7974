"""As much of S3 as reading needs: folders of a directory are buckets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class _Bucket(BaseHTTPRequestHandler):
    def __init__(self, root: Path, *given: object) -> None:
        self.root = root
        super().__init__(*given)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        parts = urlsplit(self.path)
        found, query = self.root / unquote(parts.path).strip("/"), parse_qs(parts.query)
        if "list-type" in query:
            return self._send(200, _listing(found, query.get("prefix", [""])[0]), True)
        if not found.is_file():
            return self._send(200 if found.parent == self.root else 404, b"", with_body)
        content = found.read_bytes()
        first, _, last = self.headers.get("Range", "bytes=-").partition("=")[2].partition("-")
        if first:
            content = content[int(first) : int(last) + 1]
        return self._send(206 if first else 200, content, with_body, found)

    def _send(
        self, status: int, content: bytes, with_body: bool, found: Path | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        when = found.stat().st_mtime if found else 0.0
        self.send_header("Last-Modified", formatdate(when, usegmt=True))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _listing(bucket: Path, prefix: str) -> bytes:
    entries = "".join(
        f"<Contents><Key>{escape(str(path.relative_to(bucket)))}</Key>"
        f"<Size>{path.stat().st_size}</Size>"
        "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
        for path in sorted(bucket.rglob("*"))
        if path.is_file() and str(path.relative_to(bucket)).startswith(prefix)
    )
    start = (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    )
    return f"{start}<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()


@contextmanager
def s3_server(root: Path) -> Iterator[str]:
    """Serves the folders of `root`; what a URL s3:// has to say after its question mark."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Bucket, root)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        where = f"127.0.0.1%3A{server.server_address[1]}"
        yield f"scheme=http&endpoint_override={where}&allow_bucket_creation=false"
        server.shutdown()
        thread.join()

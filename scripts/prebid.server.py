"""The publisher's web server: a page with Prebid.js, and the way from it to Tessera, which adds the key
that a page must not know. Usage: prebid.server.py FOLDER PORT TESSERA KEY"""

import http.server
import sys
import urllib.error
import urllib.request

folder, port, tessera, key = sys.argv[1:]

PAGE = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page with Prebid.js</title>
<link rel="icon" href="data:,"><style>
body{margin:0;padding:24px;font:16px/1.5 system-ui,Roboto,sans-serif;color:#1d1d1f;background:#f4f4f2}
h1{margin:0 0 4px;font-size:20px}p{margin:0 0 16px}iframe{display:block;border:0;background:#fff;box-shadow:0 1px 6px #0003}
</style></head><body><h1>A page with Prebid.js</h1><p id="said">waiting</p><iframe id="ad" title="Advertisement"></iframe>
<script src="/page.js"></script></body></html>"""


class Publisher(http.server.BaseHTTPRequestHandler):
    def answer(self, status, kind, body):
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/":
            return self.answer(200, "text/html; charset=utf-8", PAGE)
        if self.path == "/page.js":
            with open(f"{folder}/page.js", "rb") as script:
                return self.answer(200, "text/javascript; charset=utf-8", script.read())
        return self.answer(404, None, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(f"{folder}/request.json", "wb") as kept:
            kept.write(body)
        request = urllib.request.Request(f"{tessera}/openrtb2/bid", data=body, method="POST")
        request.add_header("Authorization", f"Bearer {key}")
        request.add_header("Content-Type", self.headers.get("Content-Type", "text/plain"))
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status, kind, bids = answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            status, kind, bids = error.code, error.headers["Content-Type"], error.read()
        with open(f"{folder}/response.json", "wb") as kept:
            kept.write(bids)
        self.answer(status, kind, bids)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Publisher).serve_forever()

"""A certificate authority of the tests' own, and the certificates that it should not have made.

    authority = Authority(folder)               authority.file: what --ca-file takes
    server = Server(site, tls=authority.context())
    server.tls = authority.context(names="DNS:other.example")
    server.tls = authority.context(days=-1)
    server.tls = authority.context(most=ssl.TLSVersion.TLSv1_1)
"""

import itertools
import ssl
import subprocess
import warnings
from pathlib import Path

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    def __init__(self, folder, name="tests"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        self.numbers = itertools.count(1)
        self.openssl("req", "-x509", *KEY, "-keyout", self.key, "-out", self.file, "-days", 30,
                     "-subj", f"/CN=authority of the {name}")

    def openssl(self, *args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)

    def issue(self, names="IP:127.0.0.1,DNS:localhost", days=30):
        """The files of a certificate and of its key."""
        stem = self.folder / f"leaf{next(self.numbers)}"
        request, key, leaf, extensions = (stem.with_suffix(f".{kind}")
                                          for kind in ("csr", "key", "pem", "ext"))
        extensions.write_text(f"subjectAltName={names}\n")
        self.openssl("req", "-new", *KEY, "-keyout", key, "-out", request, "-subj", "/CN=server")
        self.openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key,
                     "-set_serial", next(self.numbers), "-days", days, "-extfile", extensions,
                     "-out", leaf)
        return leaf, key

    def context(self, most=None, **certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if most:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that is the point of it
                context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, most
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(*self.issue(**certificate))
        return context

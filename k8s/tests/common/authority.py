"""A certificate authority that lives as long as a test, made with openssl."""

import subprocess


def openssl(*arguments, given=None):
    """Standard output of openssl."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Authority:
    """Issues certificates that `certificate` vouches for."""

    CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def __init__(self, folder):
        self.folder = folder
        self.certificate = folder / "ca.crt"
        openssl("req", "-x509", *self.CURVE, "-keyout", folder / "ca.key", "-out", self.certificate, "-days", "2",
                "-subj", "/CN=test authority")

    def issue(self, name):
        """(certificate file, key file) for one DNS name."""
        certificate, key, request = (self.folder / f"{name}.{end}" for end in ("crt", "key", "csr"))
        extensions = self.folder / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=CA:false\n")
        openssl("req", *self.CURVE, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "ca.key",
                "-CAcreateserial", "-days", "1", "-extfile", extensions, "-out", certificate)
        return certificate, key

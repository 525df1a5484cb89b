# SPDX-License-Identifier: BSD-2-Clause
"""Certificates of a test's own authority."""

import subprocess
import time


class Authority:
    """A CA in a directory of its own, and what it has signed."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.ca = directory / "ca.crt"
        self._openssl("req", "-x509", *self._key("ca"), "-subj", f"/CN={directory.name}", "-days", "2", "-out", self.ca)

    def _openssl(self, *argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)

    def _key(self, name):
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        return [*curve, "-keyout", str(self.directory / f"{name}.key")]

    def sign(self, name, *subject_names, days=(-1, 2)):
        """(certificate, key): files. Valid between these two days, counted from now."""
        request, certificate = self.directory / f"{name}.csr", self.directory / f"{name}.crt"
        config = self.directory / f"{name}.conf"
        (self.directory / "index").write_text("")  # openssl's list of what it has signed: required, though unused here
        names = f"subjectAltName={','.join(subject_names)}\n" if subject_names else ""
        config.write_text(
            f"[ca]\ndefault_ca=c\n[c]\ndatabase={self.directory}/index\nnew_certs_dir={self.directory}\npolicy=p\nrand_serial=yes\ndefault_md=sha256\n"
            f"[p]\ncommonName=supplied\n[x]\nextendedKeyUsage=serverAuth,clientAuth\n{names}"
        )
        dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + day * 86400)) for day in days]
        self._openssl("req", *self._key(name), "-subj", f"/CN={name}", "-out", request)
        self._openssl("ca", "-batch", "-notext", "-config", config, "-extensions", "x", "-in", request, "-out", certificate,
                      "-cert", self.ca, "-keyfile", self.directory / "ca.key", "-startdate", dates[0], "-enddate", dates[1])
        return certificate, self.directory / f"{name}.key"

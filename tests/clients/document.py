"""A client's own document about itself (Client ID Metadata Document), served over TLS on this
machine: document.py CERTIFICATE REDIRECT... Writes the certificate that it is to be trusted by into
a file, and prints `ready URL`; URL is the client's id. Owns the key, which nobody else sees."""

import json
import ssl
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import NamedTemporaryFile

# The Python client of the protocol brings it.
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "localhost"
DAY = timedelta(days=1)


def certify():
    """A certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - DAY,
        not_valid_after=now + DAY,
    )
    names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
    builder = builder.add_extension(names, critical=False)
    # It signs for nothing but itself, and some ask for this of whatever they trust.
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    certificate = builder.add_extension(constraints, critical=True).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    pkcs8 = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    return certificate.public_bytes(pem), key.private_bytes(pem, pkcs8, plain)


def over_tls(server, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The library reads them from a file only.
    with NamedTemporaryFile() as chain:
        chain.write(certificate + key)
        chain.flush()
        context.load_cert_chain(chain.name)
    server.socket = context.wrap_socket(server.socket, server_side=True)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.server.document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """It has nothing to say."""


def main():
    if len(sys.argv) < 3:
        sys.exit("call it with CERTIFICATE REDIRECT...")
    file, *redirects = sys.argv[1:]
    certificate, key = certify()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    over_tls(server, certificate, key)
    url = f"https://{HOST}:{server.server_port}/client.json"
    server.document = {
        "client_id": url,
        "client_name": "A client with a document",
        "redirect_uris": redirects,
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    }
    Path(file).write_bytes(certificate)
    print(f"ready {url}", flush=True)
    server.serve_forever()


main()

"""Client certificates, as clusters' installers hand them to administrators, and a server's."""

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """A certificate authority that lives as long as this process; what it signs is good for a day."""

    def __init__(self, name: str) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        extension = x509.BasicConstraints(ca=True, path_length=0)
        self.certificate = self._signed(self._name, self._key.public_key(), extension, critical=True)

    def client(self, user: str, group: str) -> tuple[bytes, bytes]:
        """A certificate by which the API server knows a user and a group, and its key; both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [(NameOID.ORGANIZATION_NAME, group), (NameOID.COMMON_NAME, user)]
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
        extension = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._signed(subject, key.public_key(), extension, critical=False), pem

    def server(self, address: str) -> tuple[bytes, bytes]:
        """A certificate of a server at an IP address, and its key; both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        extension = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._signed(subject, key.public_key(), extension, critical=False), pem

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType, *, critical: bool
    ) -> bytes:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))  # another machine's clock may be a little behind
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=critical)
        )
        return made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

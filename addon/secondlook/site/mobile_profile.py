"""`/ca.mobileconfig`: a profile for iPhone, iPad and Mac, with the authority and, where wanted, the proxy.

The proxy's part (`com.apple.proxy.http.global`) names its PAC file. iPhones and iPads take that only when
supervised, and refuse the whole profile otherwise; on Macs it can be installed by hand. Identifiers stay for
one authority, so that a profile that is installed again takes the place of the first.
<https://developer.apple.com/documentation/devicemanagement>
"""

import hashlib
import plistlib
import uuid

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID


def profile(authority: Certificate, description: str, pac_url: str | None = None) -> bytes:
    """Write a profile; `description` is shown before it is installed, `pac_url` is the proxy's PAC file."""
    der = authority.public_bytes(Encoding.DER)
    names = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else "Second Look"
    root = {
        "PayloadCertificateFileName": "second-look-ca.cer",
        "PayloadContent": der,
        **_head(der, "com.apple.security.root", name),
    }
    contents = [root]
    if pac_url is not None:
        contents.append(
            {
                "ProxyType": "Auto",
                "ProxyPACURL": pac_url,
                "ProxyPACFallbackAllowed": False,  # not past the proxy while the file cannot be fetched
                "ProxyCaptiveLoginAllowed": True,
                **_head(der, "com.apple.proxy.http.global", "Second Look"),
            }
        )
    whole = {
        "PayloadContent": contents,
        "PayloadDescription": description,
        "PayloadScope": "System",
        **_head(der, "Configuration", name),
    }
    return plistlib.dumps(whole)


def _head(der: bytes, kind: str, name: str) -> dict[str, object]:
    """Return the keys that every payload has."""
    authority = hashlib.sha256(der).hexdigest()
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"internal.secondlook.{authority[:16]}.{kind.rpartition('.')[2].lower()}",
        "PayloadUUID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{authority} {kind}")).upper(),
        "PayloadDisplayName": name,
    }

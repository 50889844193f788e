"""An authority of a company's PKI: taken whole, with those above it, or refused with what was expected."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store
from mitmproxy.certs import CertStore

from secondlook.config.agent import Settings
from secondlook.proxy.mitm.tls.certificates import SiteCertificates, new_key
from secondlook.run.authority import make_authority, put_authority
from secondlook.run.authority_import import MOST_BYTES, RefusedAuthorityError, read_authority
from secondlook.run.diagnosis import diagnosis
from secondlook.run.supervisor.authority_files import AUTHORITY, CERTIFICATES, whole

NOW = dt.datetime(2026, 11, 29, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


class Issued:
    """A certificate with its key; `by` signs it (None: itself)."""

    def __init__(self, name, by=None, *, key=None, ca=True, pathlen=None, since=NOW - DAY, days=400, more=()):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.name = subject
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = (
            x509.CertificateBuilder(by.name if by else subject, subject, self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(since + days * DAY)
            .add_extension(x509.BasicConstraints(ca, pathlen), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        )
        if not any(isinstance(each, x509.KeyUsage) for each in more):
            builder = builder.add_extension(
                x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True
            )
        if by is not None:
            above = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
            builder = builder.add_extension(above, critical=False)
        for each in more:
            builder = builder.add_extension(each, critical=True)
        self.usage = usage
        self.certificate = builder.sign(by.key if by else self.key, hashes.SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(Encoding.PEM)

    def secret(self, encryption=None):
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


ROOT = Issued("Company root")
MIDDLE = Issued("Company web", ROOT, pathlen=1)
OURS = Issued("Company proxies", MIDDLE, pathlen=0)


def taken(folder, *issued, key=OURS, secret=None):
    (folder / "ca.pem").write_bytes(b"".join(each.pem for each in issued))
    (folder / "ca.key").write_bytes(secret or key.secret())
    return read_authority(folder / "ca.pem", folder / "ca.key", NOW)


@pytest.mark.parametrize("order", [(OURS, MIDDLE, ROOT), (ROOT, OURS, MIDDLE), (OURS, OURS, MIDDLE, ROOT)])
def test_the_chain_is_put_in_order(tmp_path, order):
    key, chain = taken(tmp_path, *order)
    assert key.private_numbers() == OURS.key.private_numbers()
    assert chain == tuple(each.certificate for each in (OURS, MIDDLE, ROOT))


@pytest.mark.parametrize("given", [(OURS, MIDDLE, ROOT), (OURS, MIDDLE)])
def test_a_client_that_trusts_the_root_trusts_each_site(tmp_path, given):
    folder = tmp_path / "ca"
    make_authority(folder, "ecdsa")
    put_authority(folder, *taken(tmp_path, *given))
    assert (folder / AUTHORITY).stat().st_mode & 0o077 == 0
    for name in CERTIFICATES:
        assert (folder / name).read_bytes() == given[-1].pem  # what clients are given to trust
    (folder / CERTIFICATES[0]).unlink()
    make_authority(folder, "rsa")  # as each start does: a copy is mended, nothing is made anew
    assert whole(folder)
    assert (folder / CERTIFICATES[0]).read_bytes() == given[-1].pem
    store = CertStore.from_store(folder, "mitmproxy", 2048)
    sites = SiteCertificates(store, new_key("ecdsa"), folder / AUTHORITY)
    made = sites.get_cert("shop.example", [x509.DNSName("shop.example")])
    sent = x509.load_pem_x509_certificates(made.chain_file.read_bytes())
    client = PolicyBuilder().store(Store([ROOT.certificate])).time(NOW + DAY)
    client = client.build_server_verifier(x509.DNSName("shop.example"))
    assert len(client.verify(made.cert.to_cryptography(), sent)) == 4


def refused(name, issued, told, **options):
    return pytest.param(issued, told, options, id=name)


@pytest.mark.parametrize(
    ("issued", "told", "options"),
    [
        refused("another's key", (MIDDLE, ROOT), "ca.key belongs to no certificate in .*ca.pem" ),
        refused("nothing", (), "holds no certificate in PEM"),
        refused("no authority", (leaf := Issued("site", ROOT, ca=False), ROOT), "“CN=site” is no authority", key=leaf),
        refused("over", (old := Issued("old", ROOT, since=NOW - 9 * DAY, days=8), ROOT), "“CN=old” is over since 2026-11-28", key=old),
        refused("not begun", (new := Issued("new", ROOT, since=NOW + DAY), ROOT), "“CN=new” is valid only from 2026-11-30", key=new),
        refused("one above is over", (low := Issued("low", past := Issued("past", since=NOW - 9 * DAY, days=8)), past), "“CN=past” is over", key=low),
        refused("too deep", (deep := Issued("deep", OURS), OURS, MIDDLE, ROOT), "“CN=Company proxies” allows 0 authorities below it .*here are 1", key=deep),
        refused("a gap", (OURS, ROOT), "“CN=Company root” in .* is not above “CN=Company proxies”"),
        refused("a stranger", (OURS, MIDDLE, ROOT, Issued("other")), "“CN=other” in .* is not above “CN=Company root”"),
        refused("not for sites", (mail := Issued("mail", ROOT, more=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])]), ROOT), "no serverAuth", key=mail),
        refused("may not sign", (mute := Issued("mute", ROOT, more=[x509.KeyUsage(**ROOT.usage | {"digital_signature": True}, key_cert_sign=False, crl_sign=False)]), ROOT), "no keyCertSign", key=mute),
        refused("limited", (part := Issued("part", ROOT, more=[x509.NameConstraints([x509.DNSName("example")], None)]), ROOT), "limited to some names", key=part),
        refused("a short key", (weak := Issued("weak", ROOT, key=rsa.generate_private_key(65537, 1024)), ROOT), "expected RSA of 2048 bits", key=weak),
    ],
)  # fmt: skip
def test_what_browsers_would_refuse_is_refused_in_words(tmp_path, issued, told, options):
    with pytest.raises(RefusedAuthorityError, match=told):
        taken(tmp_path, *issued, **options)


def test_a_key_that_cannot_be_used_is_named(tmp_path):
    foreign = ed25519.Ed25519PrivateKey.generate()
    for secret, told in (
        (
            OURS.secret(BestAvailableEncryption(b"secret")),
            "is encrypted: expected a key without a passphrase",
        ),
        (b"no key", "holds no private key in PEM"),
        (b"x" * (MOST_BYTES + 1), "is too long"),
        (
            foreign.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "browsers take from no authority",
        ),
    ):
        with pytest.raises(RefusedAuthorityError, match=told):
            taken(tmp_path, OURS, MIDDLE, ROOT, secret=secret)
    with pytest.raises(RefusedAuthorityError, match=r"cannot read .*nowhere.key: No such file"):
        read_authority(tmp_path / "ca.pem", tmp_path / "nowhere.key", NOW)


def test_keys_of_the_usual_kinds_are_taken(tmp_path):
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        own = Issued("own", ROOT, key=key)
        found, chain = taken(tmp_path, own, ROOT, key=own)
        assert found.public_key() == key.public_key()
        assert len(chain) == 2


def test_doctor_tells_before_the_authority_or_one_above_it_ends(tmp_path):
    soon = Issued("soon", ROOT, since=dt.datetime.now(dt.UTC) - DAY, days=10)
    put_authority(tmp_path / "ca", soon.key, (soon.certificate, ROOT.certificate))
    found = diagnosis._own_authority(Settings(state=tmp_path))
    assert found.result == "problem"
    assert (
        found.text == f"the authority's certificate ends on {soon.certificate.not_valid_after_utc:%Y-%m-%d}"
    )
    make_authority(tmp_path / "other" / "ca", "ecdsa")
    assert "ends on" not in diagnosis._own_authority(Settings(state=tmp_path / "other")).text

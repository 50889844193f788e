"""The shipped lists: what much of the web depends on is guarded, and what bad people use is not."""

import pytest

from secondlook.core.digest import sha256
from secondlook.feeds.known_good import KnownGood
from secondlook.known_good import root_hashes, shipped_lines
from secondlook.suffix import load_suffixes

DEPENDENCIES = {
    "fonts and scripts": (
        "ajax.googleapis.com fonts.googleapis.com fonts.gstatic.com www.gstatic.com cdnjs.cloudflare.com "
        "challenges.cloudflare.com code.jquery.com cdn.jsdelivr.net unpkg.com ajax.aspnetcdn.com "
        "maxcdn.bootstrapcdn.com use.fontawesome.com kit.fontawesome.com use.typekit.net p.typekit.net "
        "www.googletagmanager.com www.recaptcha.net js.hcaptcha.com secure.gravatar.com s.w.org i.ytimg.com "
        "player.vimeo.com connect.facebook.net static.xx.fbcdn.net abs.twimg.com cdn.shopify.com cdn.segment.com"
    ),
    "payment": (
        "js.stripe.com api.stripe.com m.stripe.network checkout.stripe.com www.paypal.com www.paypalobjects.com "
        "js.braintreegateway.com"
    ),
    "sign-in": (
        "accounts.google.com login.microsoftonline.com login.live.com login.windows.net account.microsoft.com "
        "appleid.apple.com idmsa.apple.com login.yahoo.com github.com api.github.com www.dropbox.com dl.dropbox.com"
    ),
    "package registries": (
        "pypi.org files.pythonhosted.org registry.npmjs.org registry.yarnpkg.com rubygems.org index.rubygems.org "
        "crates.io static.crates.io index.crates.io proxy.golang.org sum.golang.org repo.maven.apache.org "
        "repo1.maven.org plugins.gradle.org api.nuget.org packagist.org repo.packagist.org ghcr.io "
        "registry-1.docker.io auth.docker.io deb.debian.org security.debian.org archive.ubuntu.com "
        "security.ubuntu.com mirrors.fedoraproject.org codeload.github.com"
    ),
    "updates": (
        "dl.google.com update.googleapis.com safebrowsing.googleapis.com download.windowsupdate.com "
        "ctldl.windowsupdate.com swcdn.apple.com aus5.mozilla.org firefox.settings.services.mozilla.com"
    ),
    "certificates": (
        "r3.o.lencr.org r10.o.lencr.org e6.o.lencr.org r3.i.lencr.org x1.c.lencr.org acme-v02.api.letsencrypt.org "
        "ocsp.digicert.com crl3.digicert.com cacerts.digicert.com ocsp.pki.goog c.pki.goog o.pki.goog i.pki.goog "
        "ocsp.sectigo.com crl.sectigo.com crt.sectigo.com ocsp.usertrust.com ocsp.comodoca.com ocsp.globalsign.com "
        "crl.globalsign.com ocsp.entrust.net ocsp.godaddy.com ocsp.r2m01.amazontrust.com crl.r2m01.amazontrust.com "
        "ocsp.apple.com crl.apple.com crl.microsoft.com oneocsp.microsoft.com"
    ),
    "captive portals": (
        "captive.apple.com connectivitycheck.gstatic.com clients3.google.com detectportal.firefox.com "
        "www.msftconnecttest.com www.msftncsi.com nmcheck.gnome.org connectivity-check.ubuntu.com "
        "network-test.debian.org"
    ),
    "platforms themselves": "pages.dev github.io blogspot.com duckdns.org web.app bit.ly t.co sharepoint.com",
}
TENANTS = (
    "x.pages.dev evil.github.io evil.blogspot.com evil.web.app evil.duckdns.org bucket.s3.amazonaws.com "
    "bucket.storage.googleapis.com evil.sharepoint.com evil.wordpress.com evil.weebly.com d1234abcd.cloudfront.net "
    "evil.azurewebsites.net evil.mybluehost.me evil.myqcloud.com evil.b-cdn.net evil.ngrok.io hacked.cs.berkeley.edu "
    "uc123.dl.dropboxusercontent.com evil.teachable.com evil.jimdofree.com evil.trycloudflare.com"
)


@pytest.fixture(scope="module")
def held_back():
    roots = root_hashes(shipped_lines(), load_suffixes())
    known_good = KnownGood(shipped_lines(), load_suffixes())
    return lambda line: sha256(line.encode()) in roots or known_good.blocks_too_much(line)


@pytest.mark.parametrize("kind", DEPENDENCIES)
def test_what_the_web_depends_on_is_guarded(held_back, kind):
    assert [host for host in DEPENDENCIES[kind].split() if not held_back(f"{host}/")] == []


def test_what_strangers_name_on_a_platform_stays_listable(held_back):
    assert [host for host in TENANTS.split() if held_back(f"{host}/")] == []


@pytest.mark.parametrize(
    ("page", "guarded"),
    [
        ("en.wikipedia.org/wiki/", True),
        ("en.wikipedia.org/wiki/Phishing", False),
        ("login.live.com/login.srf", True),
        ("accounts.google.com/v3/signin/identifier", True),
        ("www.facebook.com/login.php", True),
        ("www.youtube.com/watch", True),
        ("www.youtube.com/watch?v=1", False),
        ("drive.google.com/file/d/", True),
        ("drive.google.com/file/d/1AbCdEf/view", False),
        ("docs.google.com/forms/d/e/1FAIpQL/viewform", False),
        ("sites.google.com/view/evil/", False),
        ("github.com/evil/", False),
        ("facebook.com/evil/", False),
        ("cdn.jsdelivr.net/npm/evil/x.js", False),
        ("dropbox.com/s/abc/x.exe", False),
    ],
)
def test_a_page_is_listable_unless_it_stands_for_many(held_back, page, guarded):
    assert held_back(page) is guarded

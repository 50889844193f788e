"""Files known to be good are what they say, so that rules meet each kind of file there is."""

import gzip
import io
import tarfile
import zipfile

from secondlook.scan.samples import known_good


def test_samples_are_real_files_of_their_kinds():
    samples = dict(known_good())
    assert zipfile.ZipFile(io.BytesIO(samples["a zip archive"])).testzip() is None
    with tarfile.open(fileobj=io.BytesIO(samples["a tar archive"])) as archive:
        assert archive.getnames() == ["readme.txt"]
    assert gzip.decompress(samples["a gzip file"])
    assert samples["a picture"].startswith(b"\x89PNG")
    assert samples["a Windows program"][128:132] == b"PE\0\0"
    assert any(data.startswith(b"\x7fELF") or len(data) > 1000 for data in samples.values())

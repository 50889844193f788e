/*
  Second Look's own rules. They look wherever YARA-X is installed, so that a newcomer can see a scan find something.
  Rules of your own go into `scan.yara.rules`.
*/

rule EICAR_Test_File
{
    meta:
        description = "The text of the EICAR anti-malware test file, anywhere in a file"
        reference = "https://www.eicar.org/download-anti-malware-testfile/"
        risk = "dangerous"
        threat = "malware"
        family = "EICAR"

    strings:
        $text = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

    condition:
        $text
}

"""A tool of Windows as WSL shows it, whichever its file is called; what they keep is `kept.json` beside it."""

import json
import sys
from pathlib import Path

TOOL = Path(sys.argv[0])
KEPT = TOOL.with_name("kept.json")
MISSING = (
    "FEHLER: Der angegebene Registrierungsschlüssel oder Wert wurde nicht gefunden.\r\n"  # a German Windows
)

values = json.loads(KEPT.read_text())
match TOOL.name, sys.argv[1:]:
    case "reg.exe", ["query", _, "/v", key] if key not in values:
        sys.stderr.buffer.write(MISSING.encode("cp850"))
        sys.exit(1)
    case "reg.exe", ["query", where, "/v", key]:
        kind, value = values[key]
        place = where.replace("HKCU", "HKEY_CURRENT_USER")
        sys.stdout.buffer.write(f"\r\n{place}\r\n    {key}    {kind}    {value}\r\n\r\n".encode("cp850"))
    case "reg.exe", ["add", _, "/v", key, "/t", kind, "/d", value, "/f"]:
        values[key] = [kind, value]
    case "reg.exe", ["delete", _, "/v", key, "/f"]:
        del values[key]
    case "powershell.exe", ["-NoProfile", "-NonInteractive", "-Command", script]:
        values["told"] = script.count("InternetSetOption(")
    case "wslpath", ["-w", path]:
        sys.stdout.write(r"\\wsl.localhost\Ubuntu" + path.replace("/", "\\") + "\n")
    case "certutil.exe", ["-addstore", "-user", "Root", path]:
        values["trusted"] = path
    case "certutil.exe", ["-delstore", "-user", "Root", thumbprint]:
        values["trusted"], values["removed"] = None, thumbprint
    case _, words:
        sys.exit(f"{TOOL.name}: not expected: {words}")
KEPT.write_text(json.dumps(values))

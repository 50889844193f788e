"""Set-up of this computer: CA trust, browsers, system proxy, start at log-in; every step can be undone."""

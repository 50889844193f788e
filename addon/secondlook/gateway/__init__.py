"""What a gateway (another proxy) asks: helper lines about URLs, ICAP about requests and bodies."""

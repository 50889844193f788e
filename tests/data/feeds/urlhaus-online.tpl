msFilterList
# Title: Online Malicious Hosts Blocklist (IE)
# Updated: 2025-07-19T12:11:28Z
# Expires: 12 hours (update frequency)
# Homepage: https://gitlab.com/malware-filter/urlhaus-filter
# License: https://gitlab.com/malware-filter/urlhaus-filter#license
# Source: https://urlhaus.abuse.ch/api/
: Expires=1
#
-d 0022a601.pphost.net
-d 1.1.109.99
-d 1.13.187.97
-d 1.15.230.7
-d 1.15.25.148
-d 1.15.34.67
-d 1.179.63.129
-d 1.181.227.183
-d 1.181.70.42

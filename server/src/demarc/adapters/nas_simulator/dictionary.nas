# What the simulated NAS sends and understands (RFC 2865, 2866, 2869, 3162, 4818, 5176, 2548 and vendors).
ATTRIBUTE	User-Name			1	string
ATTRIBUTE	User-Password			2	octets
ATTRIBUTE	CHAP-Password			3	octets
ATTRIBUTE	NAS-IP-Address			4	ipaddr
ATTRIBUTE	NAS-Port			5	integer
ATTRIBUTE	Service-Type			6	integer
ATTRIBUTE	Framed-Protocol			7	integer
ATTRIBUTE	Framed-IP-Address		8	ipaddr
ATTRIBUTE	Filter-Id			11	string
ATTRIBUTE	Reply-Message			18	string
ATTRIBUTE	State				24	octets
ATTRIBUTE	Class				25	octets
ATTRIBUTE	Session-Timeout			27	integer
ATTRIBUTE	Idle-Timeout			28	integer
ATTRIBUTE	Called-Station-Id		30	string
ATTRIBUTE	Calling-Station-Id		31	string
ATTRIBUTE	NAS-Identifier			32	string
ATTRIBUTE	Proxy-State			33	octets
ATTRIBUTE	Acct-Status-Type		40	integer
ATTRIBUTE	Acct-Delay-Time			41	integer
ATTRIBUTE	Acct-Input-Octets		42	integer
ATTRIBUTE	Acct-Output-Octets		43	integer
ATTRIBUTE	Acct-Session-Id			44	string
ATTRIBUTE	Acct-Session-Time		46	integer
ATTRIBUTE	Acct-Terminate-Cause		49	integer
ATTRIBUTE	Acct-Input-Gigawords		52	integer
ATTRIBUTE	Acct-Output-Gigawords		53	integer
ATTRIBUTE	Event-Timestamp			55	date
ATTRIBUTE	CHAP-Challenge			60	octets
ATTRIBUTE	NAS-Port-Type			61	integer
ATTRIBUTE	Message-Authenticator		80	octets
ATTRIBUTE	Acct-Interim-Interval		85	integer
ATTRIBUTE	NAS-Port-Id			87	string
ATTRIBUTE	Framed-Pool			88	string
ATTRIBUTE	Framed-IPv6-Prefix		97	ipv6prefix
ATTRIBUTE	Error-Cause			101	integer
ATTRIBUTE	Delegated-IPv6-Prefix		123	ipv6prefix

VALUE		Service-Type		Framed			2
VALUE		Framed-Protocol		PPP			1
VALUE		NAS-Port-Type		Ethernet		15
VALUE		Acct-Status-Type	Start			1
VALUE		Acct-Status-Type	Stop			2
VALUE		Acct-Status-Type	Interim-Update		3
VALUE		Acct-Status-Type	Accounting-On		7
VALUE		Acct-Status-Type	Accounting-Off		8
VALUE		Acct-Terminate-Cause	User-Request		1
VALUE		Acct-Terminate-Cause	Admin-Reset		6

VENDOR		Microsoft			311
BEGIN-VENDOR	Microsoft
ATTRIBUTE	MS-CHAP-Error			2	octets
ATTRIBUTE	MS-CHAP-Challenge		11	octets
ATTRIBUTE	MS-CHAP2-Response		25	octets
ATTRIBUTE	MS-CHAP2-Success		26	octets
END-VENDOR	Microsoft

VENDOR		WISPr				14122
BEGIN-VENDOR	WISPr
ATTRIBUTE	WISPr-Bandwidth-Max-Up		7	integer
ATTRIBUTE	WISPr-Bandwidth-Max-Down	8	integer
END-VENDOR	WISPr

VENDOR		Mikrotik			14988
BEGIN-VENDOR	Mikrotik
ATTRIBUTE	Mikrotik-Rate-Limit		8	string
ATTRIBUTE	Mikrotik-Address-List		19	string
END-VENDOR	Mikrotik

VENDOR		Cisco				9
BEGIN-VENDOR	Cisco
ATTRIBUTE	Cisco-AVPair			1	string
END-VENDOR	Cisco

VENDOR		Huawei				2011
BEGIN-VENDOR	Huawei
ATTRIBUTE	Huawei-Input-Average-Rate	2	integer
ATTRIBUTE	Huawei-Output-Average-Rate	5	integer
END-VENDOR	Huawei

VENDOR		ERX				4874
BEGIN-VENDOR	ERX
ATTRIBUTE	ERX-CoS-Shaping-Pmt-Type	108	string
END-VENDOR	ERX

VENDOR		Alcatel-IPD			6527
BEGIN-VENDOR	Alcatel-IPD
ATTRIBUTE	Alc-Subscriber-QoS-Override	126	string
END-VENDOR	Alcatel-IPD

-- One NAS by the source address of its packet ($1). Columns: see nas_map in radiusd.conf.
SELECT host(n.source_ip),
       replace(n.secret, chr(92), repeat(chr(92), 2)),
       n.shortname,
       CASE WHEN n.message_authenticator = 'auto' AND n.message_authenticator_seen THEN 'required'
            ELSE n.message_authenticator END,
       CASE WHEN n.message_authenticator = 'required'
              OR (n.message_authenticator = 'auto' AND n.message_authenticator_seen) THEN 'yes' ELSE 'no' END
  FROM aaa_nas n
 WHERE n.source_ip = $1

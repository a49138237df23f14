-- $1 NAS source address, $2 User-Name, $3 Calling-Station-Id. Another tenant's subscriber is no row, as if unknown.
SELECT << login_columns >>
  FROM aaa_nas n
  JOIN aaa_login l ON l.tenant_id = n.tenant_id
 WHERE n.source_ip = $1 AND l.username = $2

-- $1 NAS source address, $2 User-Name, $3 Calling-Station-Id. Another tenant's subscriber is no row, as if unknown.
-- More than one row means more than one session; they say the same.
SELECT << login_columns >>
  FROM aaa_nas n
  JOIN aaa_login l ON l.tenant_id = n.tenant_id
  LEFT JOIN radius_session s ON s.username = $2 AND s.tenant_id = n.tenant_id AND (s.calling_station_id = '' OR s.calling_station_id <> $3)
 WHERE n.source_ip = $1 AND l.username = $2

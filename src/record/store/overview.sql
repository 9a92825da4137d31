-- Times, severities and statuses are as in the first migration.
ALTER TABLE incidents ADD COLUMN subject TEXT NOT NULL DEFAULT '';
UPDATE incidents SET subject = coalesce((
  SELECT value ->> 'value' FROM json_each(entities)
  ORDER BY CASE value ->> 'kind' WHEN 'host' THEN 0 WHEN 'user' THEN 1 WHEN 'resource' THEN 2
    WHEN 'ip' THEN 3 WHEN 'rule' THEN 4 ELSE 5 END, key LIMIT 1), '');
CREATE INDEX incidents_overview ON incidents (
  first_seen, severity, status, stream, owner, snoozed_until, category, subject);
CREATE INDEX findings_by_incident_time ON findings (incident, stored_at);

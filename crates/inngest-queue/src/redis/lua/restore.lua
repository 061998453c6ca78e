-- Says what a process holds, after the schedule was lost. Work that somebody else was given meanwhile stays theirs.
-- ARGV: now, process, number of limits, (function, limit)…, number of leases, (token, end, row)….
-- Returns: generation, how many leases were restored.
if not generation then return { 'NOGEN' } end
local now, process = tonumber(ARGV[1]), ARGV[2]
local at = 4
for _ = 1, tonumber(ARGV[3]) do
  call('HSET', LIMITS, ARGV[at], ARGV[at + 1])
  at = at + 2
end
local restored = 0
local count = tonumber(ARGV[at])
at = at + 1
for _ = 1, count do
  local token, expires, row = ARGV[at], ARGV[at + 1], nil
  row, at = read_row(at + 2)
  local old = call('HMGET', entry_key(row.id), 'e', 'p')
  local is_free = not old[1] or (old[2] ~= 'l' and tonumber(old[1]) <= tonumber(row.e))
  if is_free then
    if old[1] then remove(row.id) end
    link(row)
    call('HSET', entry_key(row.id), 'p', 'l', 't', token, 'x', expires, 'o', process)
    call('ZADD', LEASED, expires, row.id)
    call('SADD', holders_key(row.f, row.c), row.id)
    call('SADD', PARTS, row.f)
    call('SADD', owned_key(process), row.id)
    restored = restored + 1
  end
end
call('SADD', HERE, process)
return { generation, restored }

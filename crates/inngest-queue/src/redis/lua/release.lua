-- Gives back what a process holds without knowing: leases whose answer it never got.
-- ARGV: now, horizon, process, then the ids that it knows to hold.
-- Returns: generation, how many were given back.
if not generation then return { 'NOGEN' } end
local now, horizon, process = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local known = {}
for at = 4, #ARGV do known[ARGV[at]] = true end
local count = 0
for _, id in ipairs(call('SMEMBERS', owned_key(process))) do
  if not known[id] then
    if call('HGET', entry_key(id), 'p') == 'l' then
      take_back(id)
      apply(id, 'keep', nil, now, horizon)
      count = count + 1
    else
      call('SREM', owned_key(process), id)
    end
  end
end
wake(process)
return { generation, count }

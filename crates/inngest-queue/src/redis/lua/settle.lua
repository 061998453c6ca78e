-- Ends a lease and adds what follows.
-- ARGV: now, horizon, most entries, length of a lease, process, id, token, verdict (d done, t try again, r released, c crashed), not before
-- (crashed), number of rows, rows, number of ids, ids to forget, 1 and a row to go on with or 0. For `t` the one row takes the entry's place.
-- Returns: generation, whether the caller is to look, whether the lease was lost, beyond, full, then the lease to go on with as `hold`
-- gives it.
if not generation then return { 'NOGEN' } end
local now, horizon, max, length = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local process, id, token, verdict, retry_at = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local held = call('HMGET', entry_key(id), 'p', 't')
local is_held = held[1] == 'l' and held[2] == token
local beyond, full = 0, 0
local at = 11
local rows = {}
for i = 1, tonumber(ARGV[10]) do rows[i], at = read_row(at) end
local function add(row)
  local result = offer(row, now, horizon, max)
  if result == 'b' then beyond = beyond + 1 elseif result == 'f' then full = full + 1 end
end

if is_held then
  take_back(id)
  local fate = ({ d = 'forget', t = 'replace', r = 'keep', c = 'keep' })[verdict]
  if verdict == 'c' then call('HINCRBY', entry_key(id), 'cr', 1) call('HSET', entry_key(id), 'a', retry_at) end
  if apply(id, fate, rows[1], now, horizon) then beyond = beyond + 1 end
end
if verdict == 'c' then call('HINCRBY', NUMBERS, 'crashes', 1) end
local needless = tonumber(ARGV[at])
for i = at + 1, at + needless do remove(ARGV[i]) end
at = at + needless + 1
if verdict == 'd' or (verdict == 't' and not is_held) then
  for _, row in ipairs(rows) do add(row) end
end
local result = { generation, '0', is_held and '0' or '1', 0, 0 }
if ARGV[at] == '1' then
  local row = read_row(at + 1)
  local may = is_held and tonumber(row.d) <= now and call('EXISTS', entry_key(row.id)) == 0
    and number('entries') < max and (row.c == '0' or has_slot(row.f))
    and string.sub(generation, 1, 1) ~= 'b'
  if may then
    link(row)
    hold(result, row.id, now, length, process)
    place_partition(row.f)
  else
    add(row)
  end
end
result[2], result[4], result[5] = wake(process), beyond, full
return result

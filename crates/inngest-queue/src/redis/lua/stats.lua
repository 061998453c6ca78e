-- Figures. Walks functions, not entries; forgets functions that have no entries left.
-- ARGV: functions; all when there are none.
-- Returns: generation, entries, delayed, leased, expired, crashes, next due (or ''), how many entries a rebuild
-- under way has added and has to add (or '' and ''), then for each of the functions with due or leased entries its
-- id, ready, backlog, leased, due time of the first (or '').
if not generation then return { 'NOGEN' } end
local due = first_score(DELAYED)
local rebuilt = string.sub(generation, 1, 1) ~= 'w' and call('HMGET', NUMBERS, 'added', 'to_add') or {}
local result = {
  generation, number('entries'), call('ZCARD', DELAYED), call('ZCARD', LEASED), number('expired'), number('crashes'),
  due and string.format('%.0f', due) or '', rebuilt[1] or '', rebuilt[2] or '',
}
for _, f in ipairs(#ARGV > 0 and ARGV or call('SMEMBERS', PARTS)) do
  local calls, others = call('ZCARD', lane_key(f, '1')), call('ZCARD', lane_key(f, '0'))
  local leased = call('SCARD', holders_key(f, '1')) + call('SCARD', holders_key(f, '0'))
  if calls + others + leased == 0 then
    call('SREM', PARTS, f)
  else
    local first = ''
    for _, c in ipairs({ '0', '1' }) do
      local head = call('ZRANGE', lane_key(f, c), 0, 0)[1]
      local head_due = head and tonumber(string.sub(head, 1, 16))
      if head_due and (first == '' or head_due < first) then first = head_due end
    end
    if first ~= '' then first = string.format('%.0f', first) end
    local backlog = has_slot(f) and 0 or calls
    local n = #result
    result[n + 1], result[n + 2], result[n + 3], result[n + 4], result[n + 5] = f, calls + others - backlog, backlog, leased, first
  end
end
return result

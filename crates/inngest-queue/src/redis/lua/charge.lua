-- Takes points from the bucket of a principal; the rule is core::budget. The schedule need not be whole for it.
-- ARGV: principal (a digest), now, most the bucket may lack, what the points take to come back, all in microseconds.
-- Returns: generation (or ''), what the bucket lacks now, how long until they can be taken (0: they were).
local key = base .. 'b:' .. ARGV[1]
local now, whole, price = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local missing = math.min(math.max(tonumber(call('GET', key) or 0) - now, 0), whole)
local after = missing + price
if after > whole then
  return { generation or '', string.format('%.0f', missing), string.format('%.0f', after - whole) }
end
call('SET', key, string.format('%.0f', now + after), 'PX', math.ceil(after / 1000) + 1)
return { generation or '', string.format('%.0f', after), '0' }

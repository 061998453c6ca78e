-- Forgets entries; leased ones when their lease ends.
-- ARGV: process, ids.
-- Returns: generation, whether the caller is to look.
if not generation then return { 'NOGEN' } end
for at = 2, #ARGV do remove(ARGV[at]) end
return { generation, wake(ARGV[1]) }

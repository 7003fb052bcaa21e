"""Messages of PostgreSQL, psycopg2 and dbt of which it is known where they hold a value of a document, if at all.

``<value>`` is never shown. Everything else in angle brackets is shown where it looks as it has to: ``<name>`` an
identifier, with its schema or without; ``<relation>`` one in quotes or not; ``<type>`` and ``<types>`` of the database;
``<n>`` a number that has nothing to do with rows; ``<command>`` words of SQL; ``<node>`` and ``<path>`` of a dbt
project. What stands behind a value is shown only where it is a type that PostgreSQL itself has: a value may hold what
looks like the rest of its message.

Whoever adds a line has looked up in PostgreSQL's source what it puts there.
Source: the calls of ``ereport`` in https://github.com/postgres/postgres/tree/REL_18_STABLE/src/backend, and
https://www.postgresql.org/docs/current/error-style-guide.html
"""

from __future__ import annotations

# Errors whose first line names catalog objects, sessions, files of the server and limits, whatever the language:
# it is shown whole where PostgreSQL itself has said it, and not a function of people.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
VALUE_FREE = (
    "08", "25", "28", "40", "53", "57", "XX001", "XX002",
    "22012", "23000", "23001", "23502", "23503", "23505", "23514", "23P01", "2BP01", "42501", "44000", "55006", "55P03",
)  # fmt: skip

# Errors about a name in the text of a statement: where the message is not known, as in another language, what stands in
# quotes in it is shown where it looks like a name.
OF_A_NAME = (
    "3D000", "3F000", "42701", "42702", "42703", "42704", "42710", "42723", "42803", "42883", "42P01", "42P06", "42P07",
)  # fmt: skip

# Types that may be named behind a value.
TYPES = (
    "bigint", "bit", "boolean", "bytea", "character", "character varying", "cidr", "date", "double precision", "inet",
    "integer", "interval", "json", "jsonb", "money", "numeric", "oid", "real", "smallint", "text", "time",
    "time with time zone", "time without time zone", "timestamp", "timestamp with time zone",
    "timestamp without time zone", "timetz", "timestamptz", "tid", "uuid", "xid", "xml",
)  # fmt: skip

OF_POSTGRES = r"""
invalid input syntax for type <type>: "<value>"
invalid input syntax for type <type>: <value>
invalid input syntax for type <type>
invalid input value for enum <name>: "<value>"
invalid input string for "<value>"
"<value>" is not a valid binary digit
"<value>" is not a valid hexadecimal digit
malformed array literal: "<value>"
malformed range literal: "<value>"
malformed multirange literal: "<value>"
malformed record literal: "<value>"
value "<value>" is out of range for type <type>
"<value>" is out of range for type <type>
value out of range: overflow
value out of range: underflow
value overflows numeric format
numeric field overflow
integer out of range
bigint out of range
smallint out of range
oid out of range
money out of range
date/time field value out of range: "<value>"
date/time field value out of range: <value>
date field value out of range: <value>
date out of range: "<value>"
date out of range for timestamp
date out of range
time field value out of range: <value>
timestamp out of range: "<value>"
timestamp out of range
interval field value out of range: "<value>"
interval out of range
time zone displacement out of range: "<value>"
time zone "<value>" not recognized
time zone interval "<value>" must not include months or days
unit "<value>" not recognized for type <type>
unit "<value>" not supported for type <type>
invalid value "<value>" for "<value>"
value for "<value>" in source string is out of range
source string too short for "<value>" formatting field
conflicting values for "<value>" field in formatting string
invalid combination of date conventions
unmatched format separator "<value>"
unmatched format character "<value>"
unrecognized encoding: "<value>"
invalid source encoding name "<value>"
invalid destination encoding name "<value>"
invalid hexadecimal digit: "<value>"
invalid hexadecimal data: odd number of digits
invalid symbol "<value>" found while decoding base64 sequence
invalid base64 end sequence
invalid byte sequence for encoding "<name>": <value>
invalid byte sequence for encoding "<name>"
character with byte sequence <value>
unsupported Unicode escape sequence
unsupported XML feature
invalid XML document
invalid XML content
invalid Unicode escape value
invalid Unicode surrogate pair
invalid escape string
invalid escape sequence
LIKE pattern must not end with escape character
invalid regular expression: <value>
invalid regular expression option: "<value>"
regular expression failed: <value>
invalid regexp option: "<value>"
value too long for type <type>
bit string length <n> does not match type <type>
bit string too long for type <type>
string is too long for tsvector (<n> bytes, max <n> bytes)
word is too long (<n> bytes, max <n> bytes)
word is too long in tsquery: "<value>"
syntax error in tsquery: "<value>"
syntax error in tsvector: "<value>"
string too long to represent as jsonb string
total size of jsonb array elements exceeds the maximum of <n> bytes
total size of jsonb object elements exceeds the maximum of <n> bytes
number of jsonb object pairs exceeds the maximum allowed (<n>)
number of jsonb array elements exceeds the maximum allowed (<n>)
division by zero
cannot take logarithm of zero
cannot take logarithm of a negative number
cannot take square root of a negative number
zero raised to a negative power is undefined
a negative number raised to a non-integer power yields a complex result
input is out of range
negative substring length not allowed
requested length too large
requested character too large for encoding: <value>
requested character not valid for encoding: <value>
null character not permitted
invalid memory alloc request size <n>
array size exceeds the maximum allowed (<n>)
array must have even number of elements
array must not contain nulls
array subscript out of range
wrong number of array subscripts
multidimensional arrays must have array expressions with matching dimensions
dimension array or low bound array cannot be null
cannot concatenate incompatible arrays
cannot accumulate arrays of different dimensionality
range lower bound must be less than or equal to range upper bound
invalid range bound flags
cannot cast jsonb <words> to type <type>
cannot call <name> on a scalar
cannot call <name> on an array
cannot call <name> on an object
cannot call <name> on a non-object
cannot call <name> on a non-array
cannot extract elements from a scalar
cannot extract elements from an object
cannot deconstruct a scalar
cannot deconstruct an array as an object
cannot get array length of a scalar
cannot get array length of a non-array
cannot set path in scalar
cannot delete path in scalar
cannot delete from scalar
cannot replace existing key
path element at position <n> is not an integer: "<value>"
path element at position <n> is out of range: <value>
path element at position <n> is null
field name must not be null
key value must be scalar, not array, composite, or json
duplicate JSON object key value: <value>
duplicate JSON object key value
expected JSON array
JSON object does not contain key "<value>"
jsonpath member accessor can only be applied to an object
jsonpath array accessor can only be applied to an array
jsonpath array subscript is out of bounds
jsonpath item method .<name>() can only be applied to <value>
string argument of jsonpath item method .<name>() is not a valid representation of <value>
numeric argument of jsonpath item method .<name>() is out of range for type <type>
argument "<value>" of jsonpath item method .<name>() is invalid for type <type>
single boolean result is expected
invalid value for parameter "<name>": "<value>"
invalid value for parameter "<name>": <value>
unrecognized configuration parameter "<value>"
multiple decimal points
no partition of relation "<name>" found for row
null value in column "<name>" of relation "<name>" violates not-null constraint
null value in column "<name>" violates not-null constraint
column "<name>" of relation "<name>" contains null values
domain <name> does not allow null values
value for domain <type> violates check constraint "<name>"
duplicate key value violates unique constraint "<name>"
could not create unique index "<name>"
could not create exclusion constraint "<name>"
conflicting key value violates exclusion constraint "<name>"
insert or update on table "<name>" violates foreign key constraint "<name>"
update or delete on table "<name>" violates foreign key constraint "<name>" on table "<name>"
update or delete on table "<name>" violates RESTRICT setting of foreign key constraint "<name>" on table "<name>"
removing partition "<name>" violates foreign key constraint "<name>"
new row for relation "<name>" violates check constraint "<name>"
new row for relation "<name>" violates partition constraint
check constraint "<name>" of relation "<name>" is violated by some row
partition constraint of relation "<name>" is violated by some row
new row violates check option for view "<name>"
new row violates row-level security policy "<name>" for table "<name>"
new row violates row-level security policy for table "<name>"
cannot insert a non-DEFAULT value into column "<name>"
column "<name>" can only be updated to DEFAULT
more than one row returned by a subquery used as an expression
ON CONFLICT DO UPDATE command cannot affect row a second time
MERGE command cannot affect row a second time
there is no unique or exclusion constraint matching the ON CONFLICT specification
there is no unique constraint matching given keys for referenced table "<name>"
foreign key constraint "<name>" cannot be implemented
case not found
query returned no rows
query returned more than one row
control reached end of function without RETURN
index row requires <n> bytes, maximum size is <n>
index row size <n> exceeds maximum <n> for index "<name>"
index row size <n> exceeds <name> version <n> maximum <n> for index "<name>"
row is too big: size <n>, maximum size <n>
target lists can have at most <n> entries
tables can have at most <n> columns
stack depth limit exceeded
out of memory
out of shared memory
deadlock detected
lock timeout
could not serialize access due to concurrent update
could not serialize access due to concurrent delete
could not serialize access due to read/write dependencies among transactions
security label provider "<name>" is not loaded
column data type <type> can only have storage PLAIN
could not obtain lock on relation "<name>"
could not obtain lock on row in relation "<name>"
canceling statement due to <words>
canceling authentication due to timeout
terminating connection due to <words>
the database system is <words>
sorry, too many clients already
too many connections for role "<name>"
too many connections for database "<name>"
remaining connection slots are reserved for <value>
cannot execute <command> in a read-only transaction
cannot execute <command> during recovery
current transaction is aborted, commands ignored until end of transaction block
could not extend file "<path>": No space left on device
could not write to file "<path>": No space left on device
could not extend file "<path>": File too large
could not write to file "<path>": File too large
could not resize shared memory segment "<path>" to <n> bytes: No space left on device
cache lookup failed for <words> <n>
could not open relation with OID <n>
relation with OID <n> does not exist
tuple concurrently updated
tuple concurrently deleted
attempted to <words> invisible tuple
cached plan must not change result type
extra data after last expected column
missing data for column "<name>"
relation "<name>" does not exist
relation "<name>" already exists
column "<name>" does not exist
column <name> does not exist
column "<name>" of relation "<name>" does not exist
column "<name>" of relation "<name>" already exists
column "<name>" specified more than once
column "<name>" has pseudo-type <type>
column "<name>" is of type <type> but expression is of type <type>
column "<name>" cannot be cast automatically to type <type>
column "<name>" must appear in the GROUP BY clause or be used in an aggregate function
column "<name>" named in key does not exist
column "<name>" referenced in foreign key constraint does not exist
column "<name>" does not have a unique index
column reference "<name>" is ambiguous
table reference "<name>" is ambiguous
table name "<name>" specified more than once
missing FROM-clause entry for table "<name>"
invalid reference to FROM-clause entry for table "<name>"
relation "<name>" in <command> clause not found in FROM clause
table "<name>" does not exist
view "<name>" does not exist
materialized view "<name>" does not exist
index "<name>" does not exist
sequence "<name>" does not exist
schema "<name>" does not exist
schema "<name>" already exists
database "<name>" does not exist
role "<name>" does not exist
role "<name>" already exists
type "<name>" does not exist
type "<name>" already exists
extension "<name>" is not available
extension "<name>" does not exist
language "<name>" does not exist
tablespace "<name>" does not exist
collation "<name>" for encoding "<name>" does not exist
trigger "<name>" for relation "<name>" does not exist
constraint "<name>" of relation "<name>" does not exist
constraint "<name>" for relation "<name>" already exists
prepared statement "<name>" does not exist
prepared statement "<name>" already exists
cursor "<name>" does not exist
savepoint "<name>" does not exist
function <name>(<types>) does not exist
function <name>(<types>) is not unique
procedure <name>(<types>) does not exist
operator does not exist: <type> <operator> <type>
operator is not unique: <type> <operator> <type>
cannot cast type <type> to <type>
<command> types <type> and <type> cannot be matched
<command> could not convert type <type> to <type>
each <command> query must have the same number of columns
could not determine polymorphic type because input has type <type>
could not determine data type of parameter $<n>
could not determine which collation to use for <words>
could not identify an equality operator for type <type>
could not identify an ordering operator for type <type>
collation mismatch between explicit collations "<name>" and "<name>"
subscript type <type> is not supported
cannot subscript type <type> because it does not support subscripting
cannot accept a value of type <type>
aggregate functions are not allowed in <command>
aggregate function calls cannot be nested
window functions are not allowed in <command>
set-returning functions are not allowed in <command>
subquery in FROM must have an alias
subquery must return only one column
subquery has too many columns
argument of <command> must be type <type>, not type <type>
INSERT has more expressions than target columns
INSERT has more target columns than expressions
cannot change name of view column "<name>" to "<name>"
cannot change data type of view column "<name>" from <type> to <type>
cannot drop columns from view
cannot drop <words> <name> because other objects depend on it
cannot alter type of a column used by a view or rule
permission denied for <words> <name>
permission denied to <words>
permission denied: <value>
must be owner of <words> <name>
must be superuser to <words>
syntax error at or near "<value>"
syntax error at end of input
syntax error at end of jsonpath input
syntax error at or near "<value>" of jsonpath input
unterminated quoted string at or near "<value>"
unterminated quoted identifier at or near "<value>"
trailing junk after numeric literal at or near "<value>"
trailing junk after parameter at or near "<value>"
invalid name syntax
zero-length delimited identifier at or near "<value>"
unrecognized exception condition "<value>"
password authentication failed for user "<name>"
no pg_hba.conf entry for <value>
server closed the connection unexpectedly
SSL connection has been closed unexpectedly
SSL SYSCALL error: EOF detected
connection already closed
cursor already closed
could not receive data from server: <words>
could not send data to server: <words>
no results to fetch
can't adapt type '<name>'
A string literal cannot contain NUL (0x00) characters.
"""

OF_DBT = r"""
Got <n> result, configured to fail if <operator> <n>
Got <n> results, configured to fail if <operator> <n>
Got <n> result, configured to warn if <operator> <n>
Got <n> results, configured to warn if <operator> <n>
Got <n> result, configured to fail if
Got <n> results, configured to fail if
Got <n> result, configured to warn if
Got <n> results, configured to warn if
SUCCESS
ERROR
PARTIAL SUCCESS (<n>/<n>)
SELECT <n>
INSERT <n> <n>
UPDATE <n>
DELETE <n>
MERGE <n>
COPY <n>
CREATE TABLE
CREATE VIEW
CREATE MATERIALIZED VIEW
REFRESH MATERIALIZED VIEW
DROP <command>
ALTER <command>
BEGIN
COMMIT
SKIP
OK
Skipping due to fail_fast
Skipped due to <words>
compiled code at <path>
This model has an enforced contract that failed.
This model has an enforced contract, and its schema or materialization has changed
Model '<node>' (<path>) depends on a node named '<node>' which was not found
Model '<node>' (<path>) depends on a source named '<node>' which was not found
Model '<node>' (<path>) depends on a node named '<node>' which is disabled
Model '<node>' (<path>) depends on a source named '<node>' which is disabled
Test '<node>' (<path>) depends on a node named '<node>' which was not found
Test '<node>' (<path>) depends on a source named '<node>' which was not found
'<name>' is undefined
Env var required but not provided: '<name>'
Required var '<name>' not found in config
No macro named '<name>' found
macro '<name>' takes no keyword argument '<name>'
macro '<name>' takes not more than <n> argument(s)
'None' has no attribute '<name>'
'<words>' has no attribute '<name>'
Not able to get columns for unit test '<node>' from relation <relation> because the relation doesn't exist
"""

/* SPDX-License-Identifier: MIT */
/* The decision table of manifest.h, line by line, and everything odd that has been thought of.
 *
 * What a manifest became is written down as text, one line each, and compared as a whole:
 *
 *     hold data_packages                          the section is missing or broken
 *     [sales]                                     a package
 *     + data/sales/orders.parquet md5-...-5       listed; "unverified", "<=limit" where it applies
 *     ~ sales/orders: why                         withheld
 *     - sales/orders: why                         dropped
 */
#include <errno.h>

#include "sync/names.h"
#include "tests/unit/sync/stack_fixture.h"

struct text {
    char *bytes;
    size_t size;
    FILE *file;
};

static void text_open(struct text *text)
{
    *text = (struct text){.bytes = NULL};
    text->file = open_memstream(&text->bytes, &text->size);
    assert_non_null(text->file);
}

static void describe_row(FILE *out, const struct manifest_row *row)
{
    if (row->row.withheld)
        return;
    fprintf(out, "+ %s", row->row.path);
    for (size_t i = 0; i < row->file_count; i++) {
        const struct manifest_file *file = &row->files[i];
        char key[BLOB_KEY_TEXT_SIZE];

        if (file->part)
            fprintf(out, " %s", file->part);
        blob_key_format(&file->key, key);
        if (file->key.kind == BLOB_NONE)
            fprintf(out, " <=%llu", (unsigned long long)file->size_limit);
        else
            fprintf(out, " %s", key);
        if (file->key.kind != BLOB_NONE)
            assert_int_equal(file->size_limit, file->key.size);
    }
    fprintf(out, "%s\n", row->row.flags & TREE_ROW_UNVERIFIED ? " unverified" : "");
    assert_int_equal(!!(row->row.flags & TREE_ROW_PARTS), row->files[0].part != NULL);
}

static char *describe(const struct manifest *manifest)
{
    struct text text;
    size_t count;
    const struct tree_group *groups = manifest_groups(manifest, &count);

    text_open(&text);
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++)
        if (manifest_section(manifest, section) != SECTION_PRESENT &&
            (!tree_section(section)->is_optional ||
             manifest_section(manifest, section) == SECTION_BROKEN))
            fprintf(text.file, "hold %s\n", tree_section_name(section));
    for (size_t i = 0; i < count; i++)
        if (groups[i].section == TREE_PACKAGES)
            fprintf(text.file, "[%s]\n", groups[i].folder);

    const struct manifest_row *rows = manifest_rows(manifest, &count);

    for (size_t i = 0; i < count; i++)
        describe_row(text.file, &rows[i]);

    const struct verdict *verdicts = manifest_verdicts(manifest, &count);

    for (size_t i = 0; i < count; i++)
        fprintf(text.file, "%c %s%s%s: %s\n", verdicts[i].kind == VERDICT_WITHHELD ? '~' : '-',
                verdicts[i].group, *verdicts[i].group ? "/" : "", verdicts[i].name,
                verdicts[i].reason);
    fclose(text.file);
    return text.bytes;
}

static char *judge(const char *where, const char *text, size_t size)
{
    struct manifest *manifest = NULL;
    struct manifest_error error = {""};
    char *found = NULL;
    int r = parse_at(where, text, size, &manifest, &error);

    if (r == 0) {
        found = describe(manifest);
    } else {
        assert_int_equal(r, -EPROTO);
        assert_true(error.message[0] != '\0');
        assert_true(asprintf(&found, "reject: %s\n", error.message) > 0);
    }
    manifest_free(manifest);
    return found;
}

struct hostile {
    const char *text; /* ' stands for " */
    const char *expected;
};

/* Puts each case in the place of the % in frame. */
static void judge_all(const char *where, const char *frame, const struct hostile *cases,
                      size_t count)
{
    size_t before = strcspn(frame, "%");
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++) {
        char *text = NULL;
        int size = asprintf(&text, "%.*s%s%s", (int)before, frame, cases[i].text,
                            frame[before] ? frame + before + 1 : "");

        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        char *found = judge(where, text, (size_t)size);

        if (strcmp(found, cases[i].expected) != 0) {
            print_error("--- %s\nexpected:\n%sfound:\n%s", text, cases[i].expected, found);
            wrong++;
        }
        free(found);
        free(text);
    }
    assert_int_equal(wrong, 0);
}

#define JUDGE(where, frame, cases) judge_all(where, frame, cases, sizeof(cases) / sizeof(*(cases)))

/* --- the whole --- */

static void documents(void **state)
{
    static const struct hostile cases[] = {
        {"", "reject: empty\n"},
        {"   ", "reject: empty\n"},
        {"{", "reject: ends too early\n"},
        {"<!doctype html>", "reject: expected a value\n"},
        {"{'direct_tables':[]", "reject: ends too early\n"},
        {"{'direct_tables':[]} x", "reject: something follows the document\n"},
        {"{'direct_tables':[]}{'direct_tables':[]}", "reject: something follows the document\n"},
        {"\xef\xbb\xbf{'direct_tables':[]}", "reject: begins with a byte order mark\n"},
        {"{'direct_tables':[],'direct_tables':[]}", "reject: duplicate key \"direct_tables\"\n"},
        {"{'direct_tables\\u0000':[]}", "reject: NUL in a key\n"},
        {"{'direct_tables':[{'name':'\\ud800'}]}", "reject: half a surrogate pair\n"},
        {"{'direct_tables':[{'name':'\xc0\xaf'}]}", "reject: not UTF-8\n"},
        {"[]", "reject: the manifest is not an object\n"},
        {"null", "reject: the manifest is not an object\n"},
        {"'direct_tables'", "reject: the manifest is not an object\n"},
        {"{}", "reject: the manifest has none of the sections we know\n"},
        {"{'detail':'Not Found'}", "reject: the manifest has none of the sections we know\n"},
        {"{'Direct_Tables':[]}", "reject: the manifest has none of the sections we know\n"},
        {"{'tables':{}}", "hold direct_tables\nhold data_packages\nhold memory_domains\n"},
        {"{'tables':{'orders':{'hash':'" MD5_A "','size_bytes':5,'query_mode':'local'},"
         "'Agnes log':{'query_mode':'internal'},'bad':5,'':{}},'assets':{}}",
         "hold data_packages\nhold memory_domains\n"
         "+ data/_tables/orders.parquet md5-" MD5_A "-5\n"
         "- : name is empty\n"
         "~ Agnes log: query mode internal\n"
         "- bad: not an object\n"},
        {"{'tables':{'orders':{'hash':'" MD5_A "','size_bytes':5}},'data_packages':[]}",
         "hold direct_tables\nhold memory_domains\n"},
        {"{'tables':[{'name':'orders'}]}",
         "hold direct_tables\nhold data_packages\nhold memory_domains\n"},
        {"{'direct_tables':null}", "hold direct_tables\nhold data_packages\nhold memory_domains\n"},
        {"{'direct_tables':[]}", "hold data_packages\nhold memory_domains\n"},
        {"{'direct_tables':[],'data_packages':[],'memory_domains':[]}", ""},
        {"{'direct_tables':{},'data_packages':'','memory_domains':0}",
         "hold direct_tables\nhold data_packages\nhold memory_domains\n"},
        {"{'direct_tables':[],'data_packages':[],'memory_domains':[],'future':[1]}", ""},
        {"{'direct_tables':[null,7,{}],'data_packages':[],'memory_domains':[]}",
         "hold direct_tables\n- direct_tables[0]: not an object\n"
         "- direct_tables[1]: not an object\n- direct_tables[2]: it has no name\n"},
        {"{'direct_tables':[],'data_packages':[[]],'memory_domains':[false]}",
         "hold data_packages\nhold memory_domains\n- data_packages[0]/: not an object\n"
         "- memory_domains[0]: not an object\n"},
    };

    JUDGE(SERVER, "%", cases);
}

/* --- one table of a package --- */

#define IN_SALES                                                                                   \
    "{'direct_tables':[],'memory_domains':[],'data_packages':[{'slug':'sales','tables':[%]}]}"
#define LISTED "[sales]\n+ data/sales/orders.parquet md5-" MD5_A "-5\n"
#define DROPPED(why) "[sales]\n- sales/orders: " why "\n"
#define WITHHELD(why) "[sales]\n~ sales/orders: " why "\n"
#define ROW "'name':'orders'"
#define WITH_MD5 ROW ",'md5':'" MD5_A "'"
#define GOOD WITH_MD5 ",'size_bytes':5"

static void content_of_a_table(void **state)
{
    static const struct hostile cases[] = {
        {"{" GOOD "}", LISTED},
        {"{" GOOD ",'unknown':{'x':[1]}}", LISTED},
        {"{" ROW ",'hash':'" MD5_A "','size_bytes':5}", LISTED},
        {"{" ROW ",'md5':'','hash':'" MD5_A "','size_bytes':5}", LISTED},
        {"{" ROW ",'md5':null,'hash':'" MD5_A "','size_bytes':5}", LISTED},
        {"{" ROW ",'md5':'AAAAAAAAAAAAAAAAaaaaaaaaaaaaaaaa','size_bytes':5}", LISTED},
        {"{" ROW ",'md5':'" MD5_A "','hash':'" MD5_B "','size_bytes':5}", LISTED},
        {"{" WITH_MD5 ",'size_bytes':5.0}", LISTED},
        {"{" WITH_MD5 ",'size_bytes':0}", "[sales]\n+ data/sales/orders.parquet md5-" MD5_A "-0\n"},
        {"{" WITH_MD5 ",'size_bytes':9007199254740992}",
         "[sales]\n+ data/sales/orders.parquet md5-" MD5_A "-9007199254740992\n"},
        {"{" WITH_MD5 "}", "[sales]\n+ data/sales/orders.parquet <=107374182400\n"},
        {"{" WITH_MD5 ",'size_bytes':null}",
         "[sales]\n+ data/sales/orders.parquet <=107374182400\n"},
        {"{" ROW "}", "[sales]\n+ data/sales/orders.parquet <=107374182400 unverified\n"},
        {"{" ROW ",'size_bytes':77}", "[sales]\n+ data/sales/orders.parquet <=77 unverified\n"},
        {"{" ROW ",'md5':'','hash':null,'size_bytes':77}",
         "[sales]\n+ data/sales/orders.parquet <=77 unverified\n"},
        {"{" ROW ",'size_bytes':0}", WITHHELD("never synced on the server")},
        {"{" ROW ",'size_bytes':null,'hash':null}", WITHHELD("never synced on the server")},
        {"{" ROW ",'hash':'','size_bytes':0,'rows':0}", WITHHELD("never synced on the server")},
        {"{" ROW ",'md5':'xyz','size_bytes':5}", DROPPED("md5 is not 32 hex digits")},
        {"{" ROW ",'md5':'" MD5_A "a','size_bytes':5}", DROPPED("md5 is not 32 hex digits")},
        {"{" ROW ",'md5':' " MD5_A "','size_bytes':5}", DROPPED("md5 is not 32 hex digits")},
        {"{" ROW ",'md5':'../../../../etc/passwd/aaaaaaaaa','size_bytes':5}",
         DROPPED("md5 is not 32 hex digits")},
        {"{" ROW ",'hash':'gggggggggggggggggggggggggggggggg','size_bytes':5}",
         DROPPED("hash is not 32 hex digits")},
        {"{" ROW ",'md5':5,'size_bytes':5}", DROPPED("md5 is not a string")},
        {"{" ROW ",'md5':['" MD5_A "'],'size_bytes':5}", DROPPED("md5 is not a string")},
        {"{" ROW ",'hash':false,'size_bytes':5}", DROPPED("hash is not a string")},
        {"{" WITH_MD5 ",'size_bytes':-1}", DROPPED("size_bytes is negative or above 2^53")},
        {"{" WITH_MD5 ",'size_bytes':9007199254740994}",
         DROPPED("size_bytes is negative or above 2^53")},
        {"{" WITH_MD5 ",'size_bytes':1e300}", DROPPED("size_bytes is negative or above 2^53")},
        {"{" WITH_MD5 ",'size_bytes':1.5}", DROPPED("size_bytes is not a whole number")},
        {"{" WITH_MD5 ",'size_bytes':'5'}", DROPPED("size_bytes is not a whole number")},
        {"{" WITH_MD5 ",'size_bytes':true}", DROPPED("size_bytes is not a whole number")},
        {"{" WITH_MD5 ",'size_bytes':[5]}", DROPPED("size_bytes is not a whole number")},
        {"{" GOOD ",'rows':-3}", LISTED},
        {"{" GOOD ",'rows':'many','updated':12,'source_type':[]}", LISTED},
    };

    JUDGE(SERVER, IN_SALES, cases);
}

static void labels_of_a_table(void **state)
{
    static const struct hostile cases[] = {
        {GOOD, "reject: expected ',' or ']'\n"},
        {"null",
         "[sales]\n- sales/: none of its tables can be read\n- sales/tables[0]: not an object\n"},
        {"{" GOOD "},null", "[sales]\n+ data/sales/orders.parquet md5-" MD5_A "-5\n"
                            "- sales/tables[1]: not an object\n"},
        {"{" GOOD "},{'name':5}", LISTED "- sales/tables[1]: name is not a string\n"},
        {"{" GOOD "},{'name':null}", LISTED "- sales/tables[1]: name is not a string\n"},
        {"{" GOOD "},{'name':''}", LISTED "- sales/tables[1]: name is empty\n"},
        {"{" GOOD "},{}", LISTED "- sales/tables[1]: it has no name\n"},
        {"{" GOOD "},'orders'", LISTED "- sales/tables[1]: not an object\n"},
        {"{" GOOD ",'id':7}", DROPPED("id is not a string")},
        {"{" GOOD ",'id':null}", LISTED},
        {"{" GOOD ",'id':''}", LISTED},
        {"{" GOOD ",'id':'../../x'}", LISTED},
        {"{'name':'..','md5':'" MD5_A "','size_bytes':5}",
         "[sales]\n- sales/..: name has no letter or digit that a file name may have\n"},
        {"{'name':'\xe6\xb3\xa8','md5':'" MD5_A "','size_bytes':5}",
         "[sales]\n- sales/\xe6\xb3\xa8: name has no letter or digit that a file name may have\n"},
        {"{'name':'a\\u202eb\\n','md5':'" MD5_A "','size_bytes':'5'}",
         "[sales]\n- sales/a\\u202eb\\x0a: size_bytes is not a whole number\n"},
        {"{'name':'../../etc/passwd','md5':'" MD5_A "','size_bytes':5}",
         "[sales]\n+ data/sales/etc_passwd.parquet md5-" MD5_A "-5\n"},
        {"{'name':'orders.parquet','md5':'" MD5_A "','size_bytes':5}",
         "[sales]\n+ data/sales/orders.parquet.parquet md5-" MD5_A "-5\n"},
        {"{'name':'README.md','md5':'" MD5_A "','size_bytes':5}",
         "[sales]\n+ data/sales/README.md.parquet md5-" MD5_A "-5\n"},
    };

    JUDGE(SERVER, IN_SALES, cases);
}

static void withheld_tables(void **state)
{
    static const struct hostile cases[] = {
        {"{" GOOD ",'query_mode':'local'}", LISTED},
        {"{" GOOD ",'query_mode':'materialized'}", LISTED},
        {"{" GOOD ",'query_mode':null}", LISTED},
        {"{" GOOD ",'query_mode':'remote'}", WITHHELD("query mode remote")},
        {"{" GOOD ",'query_mode':'internal'}", WITHHELD("query mode internal")},
        {"{" GOOD ",'query_mode':'Local'}", WITHHELD("unknown query mode \"Local\"")},
        {"{" GOOD ",'query_mode':''}", WITHHELD("unknown query mode \"\"")},
        {"{" GOOD ",'query_mode':3}", WITHHELD("unknown query mode \"\"")},
        {"{" GOOD ",'query_mode':'x\\u001b[2J'}", WITHHELD("unknown query mode \"x\\x1b[2J\"")},
        {"{" GOOD ",'server_only':false}", LISTED},
        {"{" GOOD ",'server_only':null}", LISTED},
        {"{" GOOD ",'server_only':true}", WITHHELD("kept on the server (server_only)")},
        {"{" GOOD ",'server_only':1}", WITHHELD("kept on the server (server_only)")},
        {"{" GOOD ",'server_only':'false'}", WITHHELD("kept on the server (server_only)")},
        {"{" ROW ",'query_mode':'remote','md5':'bad','size_bytes':-1}",
         WITHHELD("query mode remote")},
        {"{'name':'\xe6\xb3\xa8','query_mode':'remote'}",
         "[sales]\n~ sales/\xe6\xb3\xa8: query mode remote\n"},
        {"{'name':'a b','query_mode':'remote'},{'name':'a_b','md5':'" MD5_A "','size_bytes':5}",
         "[sales]\n+ data/sales/a_b.parquet md5-" MD5_A "-5\n~ sales/a b: query mode remote\n"},
    };

    JUDGE(SERVER, IN_SALES, cases);
}

#define PART(path, md5, size) "{'path':'" path "','hash':'" md5 "','size_bytes':" size "}"
#define PARTS(parts) "{" ROW ",'hash':'" MD5_C "','size_bytes':9,'parts':[" parts "]}"

static void parts_of_a_table(void **state)
{
    static const struct hostile cases[] = {
        {PARTS(""), "[sales]\n+ data/sales/orders.parquet md5-" MD5_C "-9\n"},
        {PARTS(PART("b.parquet", MD5_B, "3") "," PART("a.parquet", MD5_A, "2")),
         "[sales]\n+ data/sales/orders a.parquet md5-" MD5_A "-2 b.parquet md5-" MD5_B "-3\n"},
        {PARTS(PART("m=1/a", MD5_A, "2") "," PART("m=1/b", MD5_A, "2")),
         "[sales]\n+ data/sales/orders m=1/a md5-" MD5_A "-2 m=1/b md5-" MD5_A "-2\n"},
        {"{" ROW ",'size_bytes':0,'parts':[" PART("a", MD5_A, "0") "]}",
         "[sales]\n+ data/sales/orders a md5-" MD5_A "-0\n"},
        {"{" GOOD ",'parts':null}", LISTED},
        {"{" GOOD ",'parts':{'path':'a'}}", DROPPED("parts is not an array")},
        {"{" GOOD ",'parts':'a'}", DROPPED("parts is not an array")},
        {PARTS("null"), DROPPED("a part is not an object")},
        {PARTS("{'hash':'" MD5_A "','size_bytes':1}"), DROPPED("a part has an unsafe path")},
        {PARTS("{'path':1,'hash':'" MD5_A "','size_bytes':1}"), DROPPED("path is not a string")},
        {PARTS(PART("../x", MD5_A, "1")), DROPPED("a part has an unsafe path")},
        {PARTS(PART("/etc/passwd", MD5_A, "1")), DROPPED("a part has an unsafe path")},
        {PARTS(PART("a//b", MD5_A, "1")), DROPPED("a part has an unsafe path")},
        {PARTS(PART(".hidden", MD5_A, "1")), DROPPED("a part has an unsafe path")},
        {PARTS(PART("a b", MD5_A, "1")), DROPPED("a part has an unsafe path")},
        {PARTS(PART("a/b/c/d/e/f/g/h/i", MD5_A, "1")), DROPPED("a part has an unsafe path")},
        {PARTS("{'path':'a','size_bytes':1}"), DROPPED("a part has no md5")},
        {PARTS(PART("a", "", "1")), DROPPED("a part has no md5")},
        {PARTS(PART("a", "zz", "1")), DROPPED("hash is not 32 hex digits")},
        {PARTS("{'path':'a','hash':'" MD5_A "'}"), DROPPED("a part has no size")},
        {PARTS(PART("a", MD5_A, "null")), DROPPED("a part has no size")},
        {PARTS(PART("a", MD5_A, "-1")), DROPPED("size_bytes is negative or above 2^53")},
        {PARTS(PART("a", MD5_A, "9007199254740992") "," PART("b", MD5_A, "1")),
         DROPPED("its parts are larger than 2^53 bytes")},
        {PARTS(PART("a", MD5_A, "1") "," PART("a", MD5_A, "1")),
         DROPPED("two parts have one path")},
        {PARTS(PART("a", MD5_A, "1") "," PART("a-b", MD5_A, "1") "," PART("a/b", MD5_A, "1")),
         DROPPED("a part is a file and a folder")},
        {PARTS(PART("a/b/c/d", MD5_A, "1") "," PART("a/b", MD5_A, "1")),
         DROPPED("a part is a file and a folder")},
        {"{'name':'README.md','parts':[" PART("a", MD5_A, "1") "]}",
         "[sales]\n- sales/README.md: name is reserved\n"},
    };

    JUDGE(SERVER, IN_SALES, cases);
}

/* --- where bytes come from --- */

static void urls_of_a_server(void **state)
{
    static const struct hostile cases[] = {
        {"{" GOOD ",'parquet_url':null}", LISTED},
        {"{" GOOD ",'parquet_url':'/api/data/orders/download'}", LISTED},
        {"{" GOOD ",'parquet_url':'" SERVER "/x'}", LISTED},
        {"{" GOOD ",'parquet_url':'" SERVER ":443/x'}", LISTED},
        {"{" GOOD ",'parquet_url':5}", DROPPED("parquet_url is not a string")},
        {"{" GOOD ",'parquet_url':'https://evil.example.net/x'}",
         DROPPED("parquet_url points to another origin")},
        {"{" GOOD ",'parquet_url':'http://agnes.example.com/x'}",
         DROPPED("parquet_url points to another origin")},
        {"{" GOOD ",'parquet_url':'" SERVER ":8443/x'}",
         DROPPED("parquet_url points to another origin")},
        {"{" GOOD ",'parquet_url':'https://agnes.example.com.evil.net/x'}",
         DROPPED("parquet_url points to another origin")},
        {"{" GOOD ",'parquet_url':'file:///etc/passwd'}", NULL},
        {"{" GOOD ",'parquet_url':'//evil.example.net/x'}", NULL},
        {"{" GOOD ",'parquet_url':'\\\\\\\\evil.example.net\\\\x'}", NULL},
        {"{" GOOD ",'parquet_url':'https://agnes.example.com@evil.example.net/'}", NULL},
        {"{" GOOD ",'parquet_url':'/x\\r\\nHost: evil'}", NULL},
        {"{" GOOD ",'parquet_url':'gopher://agnes.example.com/x'}", NULL},
        {"{" GOOD ",'query_mode':'remote','parquet_url':'https://evil.example.net/x'}",
         WITHHELD("query mode remote")},
    };

    /* Which of the two reasons it is, is for libcurl to say; that it is one of them is for us. */
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct hostile one = cases[i];
        char *text = NULL, *found;
        size_t before = strcspn(IN_SALES, "%");

        if (one.expected) {
            judge_all(SERVER, IN_SALES, &one, 1);
            continue;
        }
        assert_true(asprintf(&text, "%.*s%s%s", (int)before, IN_SALES, one.text,
                             &IN_SALES[before + 1]) > 0);
        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        found = judge(SERVER, text, strlen(text));
        if (strcmp(found, DROPPED("parquet_url points to another origin")) != 0 &&
            strcmp(found, DROPPED("parquet_url is no usable URL")) != 0)
            fail_msg("%s\n%s", text, found);
        free(found);
        free(text);
    }
}

static void urls_of_a_static_stack(void **state)
{
    static const struct hostile cases[] = {
        {"{" GOOD ",'parquet_url':'orders.parquet'}", LISTED},
        {"{" GOOD ",'parquet_url':'/shared/orders.parquet'}", LISTED},
        {"{" GOOD ",'parquet_url':'https://stacks.example.com/x'}", LISTED},
        {"{" GOOD "}", DROPPED("no parquet_url")},
        {"{" GOOD ",'parquet_url':''}", DROPPED("no parquet_url")},
        {"{" GOOD ",'query_mode':'remote'}", WITHHELD("query mode remote")},
        {"{" GOOD ",'parquet_url':'https://other.example.com/x'}",
         DROPPED("parquet_url points to another origin")},
        {"{" GOOD ",'parquet_url':'//other.example.com/x'}",
         DROPPED("parquet_url points to another origin")},
    };
    static const struct hostile domains[] = {
        {"{'slug':'finance'}", "- finance: no bundle_url\n"},
        {"{'slug':'finance','bundle_url':'finance.md'}", "+ memory/finance/bundle.md <=16777216\n"},
        {"{'slug':'finance','bundle_url':'https://other.example.com/x'}",
         "- finance: bundle_url points to another origin\n"},
    };

    JUDGE(STATIC_STACK, IN_SALES, cases);
    JUDGE(STATIC_STACK, "{'direct_tables':[],'memory_domains':[%],'data_packages':[]}", domains);
}

/* --- packages, domains, direct tables --- */

#define TABLE(name) "{'name':'" name "','md5':'" MD5_A "','size_bytes':5}"
#define AT(path) "+ data/" path ".parquet md5-" MD5_A "-5\n"

static void packages(void **state)
{
    static const struct hostile cases[] = {
        {"", ""},
        {"{'slug':'sales','tables':[]}", "[sales]\n"},
        {"{'slug':'Sales & more','tables':[" TABLE("t") "]}", "[Sales_more]\n" AT("Sales_more/t")},
        {"{'slug':'s','tables':[" TABLE("t") "]},null",
         "[s]\n" AT("s/t") "- data_packages[1]/: not an object\n"},
        {"{'slug':'s','tables':[" TABLE("t") "]},{'slug':5,'tables':[" TABLE("u") "]}",
         "[s]\n" AT("s/t") "- data_packages[1]/u: slug is not a string\n"},
        {"{'slug':'s','tables':[]},{'tables':[]}", "[s]\n- data_packages[1]/: it has no slug\n"},
        {"{'slug':'..','tables':[" TABLE("t") "]}",
         "- ../t: slug can not be the name of a folder\n"},
        {"{'slug':'_shared','tables':[" TABLE("t") "]}", "- _shared/t: slug is reserved\n"},
        {"{'slug':'_direct','tables':[" TABLE("t") "," TABLE("u") "]}",
         "- _direct/t: slug is reserved\n- _direct/u: slug is reserved\n"},
        {"{'slug':'README.md','tables':[]}", "- README.md/: slug is reserved\n"},
        {"{'slug':' README.md ','tables':[]}", "-  README.md /: slug is reserved\n"},
        {"{'slug':'s','name':5,'tables':[" TABLE("t") "]}",
         "[s]\n+ data/s/t.parquet md5-" MD5_A "-5\n"}, /* a name for people only */
        {"{'slug':'s','name':null,'description':5,'id':7,'tables':[" TABLE("t") "]}",
         "[s]\n" AT("s/t")},
        {"{'slug':'s'}", "- s/: no list of tables\n"},
        {"{'slug':'s','tables':null}", "- s/: no list of tables\n"},
        {"{'slug':'s','tables':{'t':{}}}", "- s/: no list of tables\n"},
        {"{'slug':'s','tables':[5,{}]}",
         "[s]\n- s/: none of its tables can be read\n- s/tables[0]: not an object\n"
         "- s/tables[1]: it has no name\n"},
        {"{'slug':'s','tables':[" TABLE("t") "]},{'slug':'s','tables':[" TABLE("u") "]}",
         "[s]\n" AT("s/t") AT("s/u")},
        {"{'slug':'a_b','tables':[" TABLE("t") "]},{'slug':'a b','tables':[" TABLE("u") "]}",
         "[a_b]\n" AT("a_b/u") "- a_b/t: its folder belongs to package \"a b\"\n"},
        {"{'slug':'a_b','tables':[]},{'slug':'a b','tables':[]}",
         "[a_b]\n- a_b/: its folder belongs to package \"a b\"\n"},
        {"{'slug':'a b'},{'slug':'a_b','tables':[" TABLE("t") "]}",
         "- a b/: no list of tables\n- a_b/t: its folder belongs to package \"a b\"\n"},
    };

    JUDGE(SERVER, "{'direct_tables':[],'memory_domains':[],'data_packages':[%]}", cases);
}

static void domains(void **state)
{
    static const struct hostile cases[] = {
        {"{'slug':'finance','name':'F','md5':'" MD5_A
         "','bundle_url':'/api/memory/bundle?domain=finance'}",
         "+ memory/finance/bundle.md <=16777216\n"},
        {"{'slug':'finance'}", "+ memory/finance/bundle.md <=16777216\n"},
        {"{'slug':'R&D notes'}", "+ memory/R_D_notes/bundle.md <=16777216\n"},
        {"{'slug':'f','md5':'token'}", "- f: md5 is not 32 hex digits\n"},
        {"{'slug':'f','name':[]}", "+ memory/f/bundle.md <=16777216\n"},
        {"{'slug':'f','id':1.5}", "- f: id is not a string\n"},
        {"{'slug':'_direct'}", "- _direct: slug is reserved\n"},
        {"{'slug':'f'},{'slug':null}", "+ memory/f/bundle.md <=16777216\n"
                                       "- memory_domains[1]: slug is not a string\n"},
        {"{'slug':'f','bundle_url':'https://evil.example.net/api'}",
         "- f: bundle_url points to another origin\n"},
        {"{'slug':'a b'},{'slug':'a_b'}",
         "+ memory/a_b/bundle.md <=16777216\n- a_b: its name belongs to \"a b\"\n"},
        {"{'slug':'f','id':'2'},{'slug':'f','id':'1'}",
         "+ memory/f/bundle.md <=16777216\n- f: listed twice\n"},
    };

    JUDGE(SERVER, "{'direct_tables':[],'memory_domains':[%],'data_packages':[]}", cases);
}

#define CHUNKS "{'kind':'chunks','corpus_id':'handbook','md5':'" MD5_A "','size_bytes':5}"
#define DIGEST "{'kind':'digest','slug':'weekly','id':'kd','md5':'" MD5_B "'}"

static void knowledge(void **state)
{
    static const struct hostile cases[] = {
        {CHUNKS "," DIGEST, "+ knowledge/handbook.duckdb md5-" MD5_A "-5\n"
                            "+ knowledge/weekly.md <=16777216\n"},
        /* names */
        {"{'kind':'chunks','corpus_id':'R&D notes','md5':'" MD5_A "','size_bytes':5}",
         "+ knowledge/R_D_notes.duckdb md5-" MD5_A "-5\n"},
        {"{'kind':'digest','slug':'../../etc/passwd','id':'x'}",
         "+ knowledge/etc_passwd.md <=16777216\n"},
        {"{'kind':'digest','slug':'README','id':'x'}", "+ knowledge/README.md <=16777216\n"},
        {"{'kind':'digest','slug':'...','id':'x'}",
         "- digest/...: name has no letter or digit that a file name may have\n"},
        {"{'kind':'digest','slug':'a b','id':'x'},{'kind':'digest','slug':'a_b','id':'y'}",
         "+ knowledge/a_b.md <=16777216\n- digest/a_b: its name belongs to \"a b\"\n"},
        {"{'kind':'digest','slug':'a_b','id':'y'},{'kind':'digest','slug':'a b','id':'x'}",
         "+ knowledge/a_b.md <=16777216\n- digest/a_b: its name belongs to \"a b\"\n"},
        {"{'kind':'digest','slug':'a','id':'y'},{'kind':'digest','slug':'a','id':'x'}",
         "+ knowledge/a.md <=16777216\n- digest/a: listed twice\n"},
        {"{'kind':'chunks','corpus_id':'same','size_bytes':9},"
         "{'kind':'digest','slug':'same','id':'x'}",
         "+ knowledge/same.duckdb <=9 unverified\n+ knowledge/same.md <=16777216\n"},
        {"{'kind':'chunks','corpus_id':5}," DIGEST,
         "+ knowledge/weekly.md <=16777216\n"
         "- chunks/knowledge_artifacts[0]: corpus_id is not a string\n"},
        {"{'kind':'digest','slug':''}," CHUNKS, "+ knowledge/handbook.duckdb md5-" MD5_A "-5\n"
                                                "- digest/knowledge_artifacts[0]: slug is empty\n"},
        /* kinds */
        {"{'corpus_id':'c','size_bytes':9}", "+ knowledge/c.duckdb <=9 unverified\n"},
        {"{'kind':null,'slug':'s','id':'x'}", "+ knowledge/s.md <=16777216\n"},
        {"{'kind':5,'slug':'s','id':'x'}", "- digest/s: kind is not a string\n"},
        {"{'kind':'graph','id':'g','url':'https://evil.example.net/'}",
         "~ graph/g: unknown kind \"graph\"\n"},
        {"{'kind':'graph'},5," DIGEST, "+ knowledge/weekly.md <=16777216\n"
                                       "- chunks/knowledge_artifacts[1]: not an object\n"
                                       "~ graph/knowledge_artifacts[0]: unknown kind \"graph\"\n"},
        /* content */
        {"{'kind':'chunks','corpus_id':'c','md5':'','size_bytes':0}",
         "~ chunks/c: never synced on the server\n"},
        {"{'kind':'chunks','corpus_id':'c','md5':'" MD5_A "'}",
         "+ knowledge/c.duckdb <=107374182400\n"},
        {"{'kind':'chunks','corpus_id':'c','md5':'zz','size_bytes':5}",
         "- chunks/c: md5 is not 32 hex digits\n"},
        {"{'kind':'chunks','corpus_id':'c','size_bytes':-1}",
         "- chunks/c: size_bytes is negative or above 2^53\n"},
        {"{'kind':'digest','slug':'s','id':'x','md5':7}", "- digest/s: md5 is not a string\n"},
        {"{'kind':'digest','slug':'s','id':'x','title':7,'status':[],'generated_at':{}}",
         "+ knowledge/s.md <=16777216\n"},
        /* addresses */
        {"{'kind':'digest','slug':'s','id':'x','url':'https://evil.example.net/x'}",
         "- digest/s: url points to another origin\n"},
        {"{'kind':'chunks','corpus_id':'a/b','size_bytes':9,'url':'http://169.254.169.254/'}",
         "- chunks/a/b: url points to another origin\n"},
        {"{'kind':'digest','slug':'s'}",
         "- digest/s: no usable URL follows from its id and name\n"},
    };
    static const struct hostile sections[] = {
        {"null", ""},
        {"[]", ""},
        {"{}", "hold knowledge_artifacts\n"},
        {"[{'kind':'digest','name':'x'}]",
         "hold knowledge_artifacts\n- digest/knowledge_artifacts[0]: it has no slug\n"},
    };

    JUDGE(SERVER,
          "{'direct_tables':[],'memory_domains':[],'data_packages':[],'knowledge_artifacts':[%]}",
          cases);
    JUDGE(SERVER,
          "{'direct_tables':[],'memory_domains':[],'data_packages':[],'knowledge_artifacts':%}",
          sections);
}

static void direct_tables(void **state)
{
    static const struct hostile cases[] = {
        {TABLE("prices"), AT("_direct/prices")},
        {TABLE("a b") "," TABLE("a_b"), AT("_direct/a_b") "- a_b: its name belongs to \"a b\"\n"},
        {"{'name':'x','server_only':true}", "~ x: kept on the server (server_only)\n"},
        {"{'name':'x','parts':[" PART("p", MD5_A, "1") "]}",
         "+ data/_direct/x p md5-" MD5_A "-1\n"},
        {TABLE("x") ",{'name':'x','parts':[" PART("p", MD5_A, "1") "]}", /* md5 "" is smaller */
         "+ data/_direct/x p md5-" MD5_A "-1\n- x: listed twice\n"},
        {TABLE("x.parquet") "," TABLE(
             "x") ",{'name':'x.parquet','id':'z','parts':[" PART("p", MD5_A, "1") "]}",
         AT("_direct/x") AT("_direct/x.parquet") "- x.parquet: listed twice\n"},
        {TABLE("x") ",{'name':'x.parquet','parts':[" PART("p", MD5_A, "1") "]}",
         AT("_direct/x") "- x.parquet: its name belongs to \"x\"\n"},
    };

    JUDGE(SERVER, "{'direct_tables':[%],'memory_domains':[],'data_packages':[]}", cases);
}

/* --- order --- */

/* Heap's algorithm: calls judge for each order of items between head and tail. */
struct orders {
    const char *head, *tail;
    const char *items[6];
    size_t count;
    char *first; /* what the first order gave */
    unsigned tried;
};

static void try_order(struct orders *orders)
{
    struct text text;

    text_open(&text);
    fputs(orders->head, text.file);
    for (size_t i = 0; i < orders->count; i++)
        fprintf(text.file, "%s%s", i ? "," : "", orders->items[i]);
    fputs(orders->tail, text.file);
    fclose(text.file);
    for (char *c = text.bytes; *c; c++)
        *c = *c == '\'' ? '"' : *c;

    char *found = judge(SERVER, text.bytes, text.size);

    orders->tried++;
    if (orders->first && strcmp(orders->first, found) != 0)
        fail_msg("%s\none order:\n%sanother:\n%s", text.bytes, orders->first, found);
    if (!orders->first)
        orders->first = found;
    else
        free(found);
    free(text.bytes);
}

static void permute(struct orders *orders, size_t left)
{
    if (left <= 1) {
        try_order(orders);
        return;
    }
    for (size_t i = 0; i < left; i++) {
        permute(orders, left - 1);

        size_t other = left % 2 ? 0 : i;
        const char *swapped = orders->items[left - 1];

        orders->items[left - 1] = orders->items[other];
        orders->items[other] = swapped;
    }
}

static void expect_any_order(struct orders orders, const char *expected)
{
    while (orders.count < 6 && orders.items[orders.count])
        orders.count++;
    permute(&orders, orders.count);
    assert_true(orders.tried >= 6);
    assert_string_equal(orders.first, expected);
    free(orders.first);
}

static void order_does_not_matter(void **state)
{
    struct orders rows = {
        .head = "{'memory_domains':[],'data_packages':[],'direct_tables':[",
        .tail = "]}",
        .items = {TABLE("a b"), TABLE("a_b"), TABLE("a/b"), TABLE("(a b)"), TABLE("a?b")},
    };
    struct orders twins = {
        .head = rows.head,
        .tail = rows.tail,
        .items = {"{'name':'t','id':'2','md5':'" MD5_A "','size_bytes':1}",
                  "{'name':'t','id':'1','md5':'" MD5_C "','size_bytes':1}",
                  "{'name':'t','id':'1','md5':'" MD5_B "','size_bytes':3}",
                  "{'name':'t','id':'1','md5':'" MD5_B "','size_bytes':2}",
                  "{'name':'t','id':'1','md5':'" MD5_C "','query_mode':'remote'}"},
    };
    struct orders packages = {
        .head = "{'memory_domains':[],'direct_tables':[],'data_packages':[",
        .tail = "]}",
        .items = {"{'slug':'p q','id':'1','name':'one','tables':[" TABLE("t") "]}",
                  "{'slug':'p_q','tables':[" TABLE("u") "]}",
                  "{'slug':'p q','id':'2','name':'two','tables':[" TABLE("t") "," TABLE("v") "]}",
                  "{'slug':'p/q','tables':[]}", "{'slug':'a','tables':[" TABLE("v") "]}"},
    };
    struct orders domains = {
        .head = "{'data_packages':[],'direct_tables':[],'memory_domains':[",
        .tail = "]}",
        .items = {"{'slug':'d e','id':'1'}", "{'slug':'d_e'}", "{'slug':'d e','id':'0'}",
                  "{'slug':'d.e'}", "{'slug':'d e','id':'0','md5':'" MD5_A "'}"},
    };

    expect_any_order(rows, AT("_direct/a_b") "- a b: its name belongs to \"(a b)\"\n"
                                             "- a/b: its name belongs to \"(a b)\"\n"
                                             "- a?b: its name belongs to \"(a b)\"\n"
                                             "- a_b: its name belongs to \"(a b)\"\n");
    expect_any_order(twins, "+ data/_direct/t.parquet md5-" MD5_B "-2\n- t: listed twice\n"
                            "- t: listed twice\n- t: listed twice\n- t: listed twice\n");
    expect_any_order(packages, "[a]\n[p_q]\n" AT("a/v") AT("p_q/t")
                                   AT("p_q/v") "- p q/t: listed twice\n"
                                               "- p/q/: its folder belongs to package \"p q\"\n"
                                               "- p_q/u: its folder belongs to package \"p q\"\n");
    expect_any_order(domains, "+ memory/d_e/bundle.md <=16777216\n"
                              "+ memory/d.e/bundle.md <=16777216\n"
                              "- d e: listed twice\n- d e: listed twice\n"
                              "- d_e: its name belongs to \"d e\"\n");
}

/* --- fields --- */

static void rows_say_what_the_manifest_says(void **state)
{
    struct manifest *manifest = parse(
        "{'direct_tables':[],'data_packages':[{'id':'dp','slug':'sales','name':'Sales','description':'All'"
        ",'requirement':'available','tables':[{'id':'in.c','name':'orders','md5':'" MD5_A
        "','size_bytes':5,'rows':42,"
        "'updated':'2026-08-22T10:00:00','parquet_url':'/x','query_mode':'materialized'},"
        "{'name':'r','query_mode':'remote','rows':7,'size_bytes':8}]}],"
        "'memory_domains':[{'slug':'fin','name':'Finance','md5':'" MD5_B "','id':'d1'}]}");
    size_t count;
    const struct tree_group *groups = manifest_groups(manifest, &count);

    assert_int_equal(count, 2);
    assert_int_equal(groups[0].section, TREE_PACKAGES);
    assert_string_equal(groups[0].slug, "sales");
    assert_string_equal(groups[0].name, "Sales");
    assert_string_equal(groups[0].description, "All");
    assert_int_equal(groups[0].requirement, REQUIREMENT_AVAILABLE);
    assert_int_equal(groups[1].requirement, REQUIREMENT_UNKNOWN);
    assert_string_equal(groups[1].folder, "fin");
    assert_string_equal(groups[1].name, "Finance");

    const struct manifest_row *rows = manifest_rows(manifest, &count);

    assert_int_equal(count, 3);
    assert_int_equal(rows[0].section, TREE_PACKAGES);
    assert_int_equal(rows[0].row.group, 0);
    assert_string_equal(rows[0].row.name, "orders");
    assert_string_equal(rows[0].row.table_id, "in.c");
    assert_string_equal(rows[0].row.token, "md5:" MD5_A ":5");
    assert_string_equal(rows[0].row.md5, MD5_A);
    assert_string_equal(rows[0].row.url, "/x");
    assert_string_equal(rows[0].row.query_mode, "materialized");
    assert_int_equal(rows[0].row.rows, 42);
    assert_int_equal(rows[0].row.size, 5);
    assert_true(rows[0].updated_ns == INT64_C(1787392800) * 1000000000);
    assert_string_equal(rows[1].row.withheld, "query mode remote");
    assert_null(rows[1].row.path);
    assert_int_equal(rows[1].row.rows, 7);
    assert_int_equal(rows[1].row.size, 8);
    assert_int_equal(rows[1].file_count, 0);
    assert_string_equal(rows[2].row.name, "fin");
    assert_string_equal(rows[2].row.table_id, "d1");
    assert_string_equal(rows[2].row.query_mode, "");
    assert_int_equal(rows[2].updated_ns, -1);

    const struct verdict *verdicts = manifest_verdicts(manifest, &count);

    assert_int_equal(count, 1);
    assert_string_equal(verdicts[0].path, "data/sales/r.parquet");
    manifest_free(manifest);
}

static const char *token_of(struct manifest **manifest, const char *section, const char *row)
{
    char *text = NULL;
    size_t count;

    assert_true(asprintf(&text, "{'%s':[%s]}", section, row) > 0);
    manifest_free(*manifest);
    *manifest = parse(text);
    free(text);

    const struct manifest_row *rows = manifest_rows(*manifest, &count);

    assert_int_equal(count, 1);
    return rows[0].row.token;
}

/* same: both rows must have one token; else two. */
static void compare_tokens(const char *section, const char *one, const char *other, bool same)
{
    struct manifest *a = NULL, *b = NULL;
    bool equal = !strcmp(token_of(&a, section, one), token_of(&b, section, other));

    if (equal != same)
        fail_msg("%s and %s have %s", one, other, equal ? "one token" : "two tokens");
    manifest_free(a);
    manifest_free(b);
}

static void tokens_change_with_the_content(void **state)
{
    static const struct {
        const char *one, *other;
        bool same;
    } tables[] = {
        {TABLE("x"),
         "{'name':'y','hash':'AAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaa','size_bytes':5,'rows':1}", true},
        {TABLE("x"), "{'name':'x','md5':'" MD5_B "','size_bytes':5}", false},
        {TABLE("x"), "{'name':'x','md5':'" MD5_A "','size_bytes':6}", false},
        {TABLE("x"), "{'name':'x','md5':'" MD5_A "'}", false},
        {"{'name':'x','size_bytes':6}", "{'name':'x','size_bytes':7}", false},
        {"{'name':'x','updated':'2026-01-01'}", "{'name':'x','updated':'2026-01-02'}", false},
        {"{'name':'x','updated':'2026-01-01','rows':1}", "{'name':'x','updated':'2026-01-01'}",
         true},
        {"{'name':'x','parts':[" PART("a", MD5_A, "1") "," PART("b", MD5_B, "2") "]}",
         "{'name':'x','parts':[" PART("b", MD5_B, "2") "," PART("a", MD5_A, "1") "]}", true},
        {"{'name':'x','parts':[" PART("a", MD5_A, "1") "]}",
         "{'name':'x','parts':[" PART("b", MD5_A, "1") "]}", false},
        {"{'name':'x','parts':[" PART("a", MD5_A, "1") "]}",
         "{'name':'x','parts':[" PART("a", MD5_A, "2") "]}", false},
        {"{'name':'x','parts':[" PART("a", MD5_A, "1") "]}",
         "{'name':'x','parts':[" PART("a", MD5_B, "1") "]}", false},
    };
    static const struct {
        const char *one, *other;
        bool same;
    } bundles[] = {
        {"{'slug':'x','md5':'" MD5_A "'}", "{'slug':'x','md5':'" MD5_A "','items_count':5}", true},
        {"{'slug':'x','md5':'" MD5_A "'}", "{'slug':'x','md5':'" MD5_B "'}", false},
        {"{'slug':'x','name':'a'}", "{'slug':'x','name':'b'}", false},
        {"{'slug':'x','description':'a'}", "{'slug':'x','description':'b'}", false},
        {"{'slug':'x','name':'a','description':'b\\nc'}",
         "{'slug':'x','name':'a\\nb','description':'c'}", false},
        {"{'slug':'x','updated':'2026-01-01'}", "{'slug':'x','updated':'2026-01-02'}", false},
        {"{'slug':'x','md5':'" MD5_A "','updated':'2026-01-01'}",
         "{'slug':'x','md5':'" MD5_A "','updated':'2026-01-02'}", true},
    };

    static const struct {
        const char *one, *other;
        bool same;
    } digests[] = {
        {DIGEST, "{'slug':'weekly','id':'kd','md5':'" MD5_B "','status':'stale'}", true},
        {DIGEST, "{'slug':'weekly','id':'kd','md5':'" MD5_B "','title':'New'}", false},
        {"{'slug':'s','id':'x'}", "{'slug':'s','id':'x','status':'stale'}", false},
        {"{'slug':'s','id':'x'}", "{'slug':'s','id':'x','generated_at':'2026-01-01'}", false},
    };

    for (size_t i = 0; i < sizeof(digests) / sizeof(*digests); i++)
        compare_tokens("knowledge_artifacts", digests[i].one, digests[i].other, digests[i].same);
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        compare_tokens("direct_tables", tables[i].one, tables[i].other, tables[i].same);
    for (size_t i = 0; i < sizeof(bundles) / sizeof(*bundles); i++)
        compare_tokens("memory_domains", bundles[i].one, bundles[i].other, bundles[i].same);
}

static void times(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds; /* -1: none */
        int64_t ns;
    } cases[] = {
        {"1970-01-01", 0, 0},
        {"1970-01-01T00:00:00Z", 0, 0},
        {"1970-01-01T00:00:00", 0, 0},
        {"2026-08-22T10:00:00", 1787392800, 0},
        {"2026-08-22 10:00:00", 1787392800, 0},
        {"2026-08-22t10:00:00z", 1787392800, 0},
        {"2026-08-22T10:00:00+00:00", 1787392800, 0},
        {"2026-08-22T12:00:00+02:00", 1787392800, 0},
        {"2026-08-22T04:30:00-0530", 1787392800, 0},
        {"2026-08-22T10:00:00.5", 1787392800, 500000000},
        {"2026-08-22T10:00:00.123456+00:00", 1787392800, 123456000},
        {"2026-08-22T10:00:00.1234567899Z", 1787392800, 123456789},
        {"2026-08-22", 1787356800, 0},
        {"2000-02-29", 951782400, 0},
        {"2024-02-29T23:59:59Z", 1709251199, 0},
        {"2024-12-31", 1735603200, 0},
        {"2016-12-31T23:59:60Z", 1483228800, 0},
        {"1969-12-31T23:00:00-01:00", 0, 0},
        {"2261-12-31", 9214560000, 0},
        {"1969-12-31", -1, 0},
        {"1970-01-01T00:00:00+00:01", -1, 0},
        {"2262-01-01", -1, 0},
        {"2023-02-29", -1, 0},
        {"2100-02-29", -1, 0},
        {"2026-13-01", -1, 0},
        {"2026-00-10", -1, 0},
        {"2026-04-31", -1, 0},
        {"2026-01-00", -1, 0},
        {"2026-08-22T24:00:00", -1, 0},
        {"2026-08-22T10:60:00", -1, 0},
        {"2026-08-22T10:00:61", -1, 0},
        {"2026-08-22T10:00", -1, 0},
        {"2026-08-22T10:00:00.", -1, 0},
        {"2026-08-22T10:00:00X", -1, 0},
        {"2026-08-22T10:00:00+24:00", -1, 0},
        {"2026-08-22T10:00:00Z ", -1, 0},
        {"2026-8-22", -1, 0},
        {"", -1, 0},
        {"yesterday", -1, 0},
        {"1787392800", -1, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = NULL;
        struct manifest *manifest = NULL;
        size_t count;
        int64_t expected = cases[i].seconds < 0 ? -1 : cases[i].seconds * 1000000000 + cases[i].ns;

        assert_true(
            asprintf(&text, "{'direct_tables':[{'name':'x','updated':'%s'}]}", cases[i].text) > 0);
        manifest = parse(text);
        if (manifest_rows(manifest, &count)->updated_ns != expected)
            fail_msg("%s: %lld", cases[i].text,
                     (long long)manifest_rows(manifest, &count)->updated_ns);
        manifest_free(manifest);
        free(text);
    }
}

/* --- limits --- */

static char *repeat(const char *head, const char *piece, size_t count, const char *tail,
                    size_t *ret_size)
{
    size_t head_size = strlen(head), size = strlen(piece), tail_size = strlen(tail);
    char *text = malloc(head_size + count * size + tail_size + 1);
    char *at = text;

    assert_non_null(text);
    memcpy(at, head, head_size);
    at += head_size;
    for (size_t i = 0; i < count; i++, at += size)
        memcpy(at, piece, size);
    memcpy(at, tail, tail_size + 1);
    *ret_size = head_size + count * size + tail_size;
    return text;
}

static void expect_repeated(const char *head, const char *piece, size_t count, const char *tail,
                            const char *expected)
{
    size_t size;
    char *text = repeat(head, piece, count, tail, &size);
    char *found = judge(SERVER, text, size);

    assert_string_equal(found, expected);
    free(found);
    free(text);
}

/* Nobody looks at the text: its size is enough. */
static void length_is_limited(void **state)
{
    char *found = judge(SERVER, "{}", MANIFEST_BYTES_MAX + 1);

    assert_string_equal(found, "reject: too long\n");
    free(found);
}

static void limits(void **state)
{
    expect_repeated("{\"direct_tables\":[],\"x\":", "[", 31, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
                    "hold data_packages\nhold memory_domains\n");
    expect_repeated("{\"direct_tables\":[],\"x\":", "[", 32, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
                    "reject: nested too deeply\n");
    expect_repeated("", "[", 1000000, "", "reject: nested too deeply\n");
    expect_repeated("{\"direct_tables\":[0", ",0", MANIFEST_VALUES_MAX, "]}",
                    "reject: too many values\n");
    expect_repeated("{\"data_packages\":[0", ",0", 100000, "]}",
                    "reject: the manifest lists more than 100000 packages\n");
    expect_repeated("{\"direct_tables\":[0", ",0", 1000000, "]}",
                    "reject: the manifest lists more than 1000000 tables\n");
}

static void long_strings(void **state)
{
    static const char head[] = "{\"direct_tables\":[{\"name\":\"x\",\"size_bytes\":1,\"";
    char start[sizeof(head) + 32];
    size_t size, count;
    char *text;

    snprintf(start, sizeof(start), "%sid\":\"", head);
    expect_repeated(start, "i", 65537, "\"}]}",
                    "hold data_packages\nhold memory_domains\n- x: id is longer than 64 KiB\n");
    expect_repeated(start, "i", 2000, "\"}]}",
                    "hold data_packages\nhold memory_domains\n"
                    "+ data/_direct/x.parquet <=1 unverified\n");
    snprintf(start, sizeof(start), "%sparquet_url\":\"/", head);
    expect_repeated(start, "i", 65537, "\"}]}",
                    "hold data_packages\nhold memory_domains\n"
                    "- x: parquet_url is longer than 64 KiB\n");
    expect_repeated(
        "{\"direct_tables\":[{\"size_bytes\":1,\"name\":\"", "n", 300, "\"}]}",
        "hold data_packages\nhold memory_domains\n"
        "- nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...: name is too long for a file\n");

    /* A description is cut, between characters. */
    text = repeat("{\"data_packages\":[{\"slug\":\"s\",\"tables\":[],\"description\":\"",
                  "\xe6\xb3\xa8", 30000, "\"}]}", &size);
    struct manifest *manifest = NULL;
    struct manifest_error error;

    assert_int_equal(parse_at(SERVER, text, size, &manifest, &error), 0);
    assert_int_equal(strlen(manifest_groups(manifest, &count)->description), 65535);
    manifest_free(manifest);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(content_of_a_table),
        cmocka_unit_test(labels_of_a_table),
        cmocka_unit_test(withheld_tables),
        cmocka_unit_test(parts_of_a_table),
        cmocka_unit_test(urls_of_a_server),
        cmocka_unit_test(urls_of_a_static_stack),
        cmocka_unit_test(packages),
        cmocka_unit_test(knowledge),
        cmocka_unit_test(domains),
        cmocka_unit_test(direct_tables),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(rows_say_what_the_manifest_says),
        cmocka_unit_test(tokens_change_with_the_content),
        cmocka_unit_test(times),
        cmocka_unit_test(length_is_limited),
        cmocka_unit_test(limits),
        cmocka_unit_test(long_strings),
    };

    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}

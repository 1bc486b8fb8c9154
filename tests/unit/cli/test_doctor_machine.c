/* SPDX-License-Identifier: MIT */
/* test_doctor_machine.c - machines that lack something. What a user of one sees is decided here, since
 * tests on real mounts are run by root. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>

#include "fs/cli/doctor.h"

struct scene {
    struct options *options;
    struct doctor doctor;
    struct findings findings;
};

static void begin(struct scene *scene, const char *allow_other, bool root)
{
    char *const argv[] = {(char *)"doctor", NULL};
    struct complaint complaint;

    *scene = (struct scene){.options = NULL};
    setenv("AGNESFS_ALLOW_OTHER", allow_other, 1);
    assert_int_equal(options_parse(verb_find("doctor"), 1, argv, "/none", &scene->options,
                                   &complaint),
                     0);
    scene->doctor = (struct doctor){
        .options = scene->options,
        .places = {.device = "/none",
                   .fuse_conf = "/none",
                   .path = "/none",
                   .data_dirs = "/none",
                   .system_file = "/none",
                   .root = root},
    };
}

/* The one finding; and it is forgotten. */
static void expect(struct scene *scene, const char *id, enum finding_state state,
                   const char *message, const char *fix)
{
    assert_int_equal(scene->findings.count, 1);

    const struct finding *finding = &scene->findings.list[0];

    assert_string_equal(finding->id, id);
    assert_string_equal(finding_state_name(finding->state), finding_state_name(state));
    assert_non_null(strstr(finding->message, message));
    assert_true((finding->fix != NULL) == (fix != NULL));
    if (fix)
        assert_non_null(strstr(finding->fix, fix));
    findings_release(&scene->findings);
}

static void end(struct scene *scene)
{
    options_free(scene->options);
}

static char *place(const char *home, const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", home, name);
    return path;
}

static void test_device(void **state)
{
    struct scene scene;

    begin(&scene, "no", false);
    doctor_check_device(&scene.doctor, &scene.findings);
    expect(&scene, "fuse-device", FINDING_FAIL, "the kernel has no FUSE", "modprobe fuse");
    scene.doctor.places.device = *state; /* a folder can not be opened for writing */
    doctor_check_device(&scene.doctor, &scene.findings);
    expect(&scene, "fuse-device", FINDING_FAIL, "can not be opened", "modprobe fuse");
    scene.doctor.places.device = "/dev/null";
    doctor_check_device(&scene.doctor, &scene.findings);
    expect(&scene, "fuse-device", FINDING_OK, "can be opened", NULL);
    end(&scene);
}

static void test_fusermount(void **state)
{
    char *program = place(*state, "fusermount3");
    struct scene scene;

    begin(&scene, "no", false);
    scene.doctor.places.path = *state;
    doctor_check_fusermount(&scene.doctor, &scene.findings);
    expect(&scene, "fusermount", FINDING_FAIL, "not found", "install fuse3");
    scene.doctor.places.root = true;
    doctor_check_fusermount(&scene.doctor, &scene.findings);
    expect(&scene, "fusermount", FINDING_WARN, "root mounts without it", "install fuse3");

    put(*state, "fusermount3", "#!/bin/sh\necho fusermount3 version: 3.99.0\n");
    assert_int_equal(chmod(program, 0755), 0);
    doctor_check_fusermount(&scene.doctor, &scene.findings);
    expect(&scene, "fusermount", FINDING_WARN, "3.99.0: not setuid root", "chmod u+s");
    scene.doctor.places.root = false;
    doctor_check_fusermount(&scene.doctor, &scene.findings);
    expect(&scene, "fusermount", FINDING_FAIL, "3.99.0: not setuid root", "chmod u+s");
    end(&scene);
}

static void test_allow_other(void **state)
{
    struct scene scene;

    begin(&scene, "yes", false);
    doctor_check_allow_other(&scene.doctor, &scene.findings);
    expect(&scene, "allow-other", FINDING_FAIL, "has no user_allow_other", "tee -a /none");
    put(*state, "fuse.conf", "# user_allow_other\n#user_allow_other\nuser_allow_others\n");
    scene.doctor.places.fuse_conf = place(*state, "fuse.conf");
    doctor_check_allow_other(&scene.doctor, &scene.findings);
    expect(&scene, "allow-other", FINDING_FAIL, "has no user_allow_other", "tee -a ");
    put(*state, "fuse.conf", "mount_max = 9\n user_allow_other\n");
    doctor_check_allow_other(&scene.doctor, &scene.findings);
    expect(&scene, "allow-other", FINDING_OK, "users may", NULL);
    scene.doctor.places.fuse_conf = place(*state, "fuse.conf/x"); /* not to be read */
    doctor_check_allow_other(&scene.doctor, &scene.findings);
    expect(&scene, "allow-other", FINDING_WARN, "can not be read", "tee -a ");
    end(&scene);
}

static void test_what_an_errand_wrote_is_read_again(void **state)
{
    struct findings made = {.list = NULL};
    struct findings read = {.list = NULL};
    char *text = NULL;
    size_t size;

    made.out = open_memstream(&text, &size);
    finding_add(&made, "one", FINDING_OK, NULL, "%s", "all \"well\"\n");
    finding_add(&made, "two", FINDING_WARN, "do this", "not %d", 5);
    finding_add(&made, "three", FINDING_FAIL, "do that", "lost");
    fclose(made.out);
    text[size - 10] = '\0'; /* it was killed while it wrote the last one */
    findings_read(&read, text);
    assert_int_equal(read.count, 2);
    assert_string_equal(read.list[0].message, "all \"well\"\n");
    assert_null(read.list[0].fix);
    assert_int_equal(read.list[1].state, FINDING_WARN);
    assert_string_equal(read.list[1].message, "not 5");
    assert_string_equal(read.list[1].fix, "do this");
    free(text);
    findings_release(&made);
    findings_release(&read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        home_test(test_device),
        home_test(test_fusermount),
        home_test(test_allow_other),
        home_test(test_what_an_errand_wrote_is_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

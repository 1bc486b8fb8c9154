/* SPDX-License-Identifier: MIT */
/* watch.c - one thread: signals come by a descriptor, so that they are events between two drawings and
 * the terminal is always given back by the same few lines. */
#include "fs/cli/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/format.h"
#include "fs/cli/progress.h"
#include "fs/cli/watch_view.h"

enum { EVERY_MS = 1000, LINE_MS = 5000, PATIENCE_MS = 2000 };

enum watch_form {
    WATCH_SCREEN,
    WATCH_LINES,
    WATCH_DOCUMENTS,
    WATCH_SILENT,
};

struct watch {
    const struct target *target;
    enum watch_form form;
    bool colours;
    int signals;
    int keys; /* where they come from; -1: nowhere */
    struct termios before;
    struct json *status; /* the last one; NULL: none yet */
    struct progress_rate rate;
    char notice[256]; /* why there is no newer one */
};

/* --- the terminal --- */

static void enter_screen(const struct watch *watch)
{
    struct termios raw = watch->before;

    if (watch->form != WATCH_SCREEN)
        return;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (watch->keys >= 0)
        tcsetattr(watch->keys, TCSADRAIN, &raw);
    fputs("\033[?1049h\033[?25l", stdout);
    fflush(stdout);
}

static void leave_screen(const struct watch *watch)
{
    if (watch->form != WATCH_SCREEN)
        return;
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    if (watch->keys >= 0)
        tcsetattr(watch->keys, TCSADRAIN, &watch->before);
}

/* By one write, so that nobody sees half of it. */
static void print_frame(char *text)
{
    scoped_free char *frame = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&frame, &size);

    if (!file)
        return;
    fputs("\033[H", file);
    for (char *line = text; line;) {
        char *end = strchr(line, '\n');

        if (end)
            *end = '\0';
        fprintf(file, "\033[2K%s%s", line, end ? "\r\n" : "\033[J");
        line = end ? end + 1 : NULL;
    }
    if (fclose(file) != 0 || !frame)
        return;
    fflush(stdout);
    if (write(STDOUT_FILENO, frame, size) < 0)
        return; /* the terminal is gone: a signal says so */
}

static void draw_screen(const struct watch *watch)
{
    struct winsize window = {0};
    scoped_free char *text = NULL;
    size_t size = 0;

    if (!watch->status)
        return;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) < 0 || window.ws_col == 0 || window.ws_row == 0)
        window = (struct winsize){.ws_col = 80, .ws_row = 24};

    const struct watch_view view = {
        .columns = window.ws_col,
        .rows = window.ws_row,
        .colours = watch->colours,
        .rate = watch->rate.rate,
        .notice = watch->notice[0] ? watch->notice : NULL,
    };
    FILE *file = open_memstream(&text, &size);

    if (!file)
        return;
    watch_draw(watch->status, &view, file);
    if (fclose(file) != 0 || !text)
        return;
    print_frame(text);
}

/* --- asking and showing --- */

/* A negative number: it has ended, and the complaint says so. */
static int look(struct watch *watch, struct complaint *ret_complaint)
{
    const struct control_request request = {.verb = "status"};
    struct json *root = NULL;
    pid_t pid;

    if (target_ask(watch->target, &request, PATIENCE_MS, &root, NULL, ret_complaint) < 0) {
        if (control_owner(watch->target->runtime, watch->target->mountpoint, &pid) < 0 ||
            (!watch->status && watch->form == WATCH_SCREEN))
            return -EIO;
        snprintf(watch->notice, sizeof(watch->notice), "%.250s", ret_complaint->why);
        return 0;
    }
    json_free(watch->status);
    watch->status = root;
    watch->notice[0] = '\0';
    progress_rate_look(&watch->rate, progress_now_s(),
                       json_number_of(json_get(root, "transfers"), "bytes"));
    return 0;
}

static void show_line(const struct watch *watch)
{
    char now[FORMAT_SIZE];

    format_time((uint64_t)time(NULL), now);
    printf("%s  ", now);
    if (watch->notice[0] || !watch->status)
        print_escaped(stdout, watch->notice);
    else
        watch_line(watch->status, watch->rate.rate, stdout);
    fputc('\n', stdout);
}

static void show_document(const struct watch *watch)
{
    scoped_free char *text = NULL;
    size_t size;

    if (!watch->notice[0] && watch->status && json_print(watch->status, false, &text, &size) == 0)
        puts(text);
}

static void show(const struct watch *watch)
{
    switch (watch->form) {
    case WATCH_SCREEN: draw_screen(watch); break;
    case WATCH_LINES: show_line(watch); break;
    case WATCH_DOCUMENTS: show_document(watch); break;
    case WATCH_SILENT: break;
    }
    fflush(stdout);
}

/* --- what happens meanwhile --- */

enum event {
    EVENT_TIME,
    EVENT_DRAW,
    EVENT_END,
    EVENT_KILLED,
};

static enum event take_signal(const struct watch *watch)
{
    struct signalfd_siginfo info;

    if (read(watch->signals, &info, sizeof(info)) != sizeof(info))
        return EVENT_DRAW;
    switch (info.ssi_signo) {
    case SIGINT: return EVENT_END;
    case SIGTSTP:
        leave_screen(watch);
        raise(SIGSTOP);
        enter_screen(watch);
        return EVENT_DRAW;
    case SIGWINCH: return EVENT_DRAW;
    default: return EVENT_KILLED;
    }
}

static enum event take_key(struct watch *watch)
{
    char keys[64];
    ssize_t n = read(watch->keys, keys, sizeof(keys));

    if (n <= 0)
        watch->keys = -1; /* the terminal is gone, or hung up; a signal will say so */
    for (ssize_t i = 0; i < n; i++)
        if (keys[i] == 'q' || keys[i] == 'Q')
            return EVENT_END;
    return EVENT_DRAW;
}

static enum event wait_for_event(struct watch *watch, double until_s)
{
    struct pollfd fds[] = {{.fd = watch->signals, .events = POLLIN},
                           {.fd = watch->keys, .events = POLLIN}};
    double left = until_s - progress_now_s();

    if (poll(fds, 2, left > 0 ? (int)(left * 1000) + 1 : 0) <= 0)
        return EVENT_TIME;
    return fds[0].revents ? take_signal(watch) : take_key(watch);
}

static int run(struct watch *watch, struct complaint *ret_complaint)
{
    double every = watch->form == WATCH_LINES ? LINE_MS / 1000.0 : EVERY_MS / 1000.0;
    double next = progress_now_s();
    enum event event = EVENT_TIME;
    int r = 0;

    while (event < EVENT_END && !ferror(stdout)) {
        if (event == EVENT_TIME && (r = look(watch, ret_complaint)) < 0)
            return r;
        if (event == EVENT_TIME || watch->form == WATCH_SCREEN)
            show(watch);
        if (event == EVENT_TIME)
            next = progress_now_s() + every;
        event = wait_for_event(watch, next);
    }
    return event == EVENT_KILLED ? -EINTR : 0;
}

static enum watch_form form_of(const struct options *options)
{
    if (options_flag(options, FLAG_JSON))
        return WATCH_DOCUMENTS;
    if (options_flag(options, FLAG_QUIET))
        return WATCH_SILENT;
    return progress_is_screen(stdout) ? WATCH_SCREEN : WATCH_LINES;
}

static int take_signals(sigset_t *ret_before)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        sigaddset(&set, signals[i]);
    pthread_sigmask(SIG_BLOCK, &set, ret_before);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int watch_mount(const struct options *options, const struct target *target)
{
    const char *no_colour = getenv("NO_COLOR");
    struct complaint complaint;
    sigset_t before;
    struct watch watch = {
        .target = target,
        .form = form_of(options),
        .colours = !no_colour || !*no_colour,
        .signals = take_signals(&before),
        .keys = tcgetattr(STDIN_FILENO, &watch.before) == 0 ? STDIN_FILENO : -1,
    };
    int r;

    if (watch.form != WATCH_SCREEN)
        watch.keys = -1;
    enter_screen(&watch);
    r = run(&watch, &complaint);
    leave_screen(&watch);
    json_free(watch.status);
    close(watch.signals);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    complaint.told = true; /* on stdout there are only documents, a line each */
    return r == 0 ? EXIT_OK : r == -EINTR ? EXIT_INTERRUPTED : complaint_print(&complaint, false);
}

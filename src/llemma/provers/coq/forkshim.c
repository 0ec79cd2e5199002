/* Lets a running prover be cloned where it stands. Loaded with LD_PRELOAD; built by forkshim.py.

   The client sends one descriptor with a number of 8 bytes over the Unix socket LLEMMA_FORK_FD, then the byte 0 (XML
   holds none) and the same number on the prover's input. The process clones itself; the clone puts that descriptor in
   the place of its input and output, writes one byte 0 there (its credentials travel with it) and goes on reading. The
   original goes on as if nothing had been read. Descriptors under other numbers were meant for processes that have been
   killed since; they are closed.

   A clone is a child of the client, not of the process it was cloned from (CLONE_PARENT), so that it outlives that one,
   and dies with the client (PR_SET_PDEATHSIG). glibc's fork is not used: OCaml's handlers for it would stop threads
   that are not there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static ssize_t (*plain_read)(int, void *, size_t);
#define NUMBER 8

static int control = -1;
static struct stat input, output;

static void die_with_parent(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

__attribute__((constructor)) static void begin(void) {
    plain_read = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    const char *number = getenv("LLEMMA_FORK_FD");
    if (!number)
        return;
    control = atoi(number);
    fstat(0, &input);
    fstat(1, &output);
    die_with_parent();
    unsetenv("LD_PRELOAD"); /* programs the prover starts are none of ours */
    unsetenv("LLEMMA_FORK_FD");
}

static int same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int receive_next(char *number) {
    char room[CMSG_SPACE(sizeof(int))];
    struct iovec part = {number, NUMBER};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(control, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != NUMBER)
        return -1;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (!head || head->cmsg_type != SCM_RIGHTS)
        return -1;
    int fd;
    memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return fd;
}

static int receive(const char *wanted) {
    char number[NUMBER];
    for (;;) {
        int fd = receive_next(number);
        if (fd < 0 || memcmp(number, wanted, NUMBER) == 0)
            return fd;
        close(fd);
    }
}

/* Every descriptor that led to the old input or output leads to the new socket (coqidetop moves them to others). */
static void take_over(int fd) {
    struct stat found;
    for (int i = 0; i < 256; i++)
        if (i != fd && i != control && fstat(i, &found) == 0 && (same(&found, &input) || same(&found, &output)))
            dup2(fd, i);
    fstat(fd, &input);
    output = input;
    if (write(fd, "", 1) != 1)
        _exit(0);
    close(fd);
}

static void clone_here(const char *wanted) {
    int fd = receive(wanted);
    if (fd < 0)
        return;
    long child = syscall(SYS_clone, SIGCHLD | CLONE_PARENT, 0, 0, 0, 0);
    if (child < 0 && errno == EINVAL) /* the first process of a namespace may not */
        child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        die_with_parent();
        take_over(fd);
        return;
    }
    close(fd);
}

static ssize_t watched(int fd, void *buffer, size_t size) {
    if (!plain_read)
        plain_read = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    for (;;) {
        ssize_t got = plain_read(fd, buffer, size);
        if (control < 0 || got != 1 + NUMBER || *(char *)buffer != 0)
            return got;
        struct stat from;
        if (fstat(fd, &from) != 0 || !same(&from, &input))
            return got;
        clone_here((char *)buffer + 1);
    }
}

ssize_t read(int fd, void *buffer, size_t size) {
    return watched(fd, buffer, size);
}

/* What `read` is in programs built with _FORTIFY_SOURCE, Debian's among them. */
ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room) {
    if (size > room)
        abort();
    return watched(fd, buffer, size);
}

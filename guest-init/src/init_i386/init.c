/*
 * PID 1 for kernels that run no 64-bit programs: mount what a workload needs, run it, report how it
 * ended, reset. It says the same as the other PID 1 (src/init), in whose words each step is explained,
 * and does less: reports go to the agent port or, without one, to the console; a fault of its own is
 * the kernel's "Attempted to kill init!".
 *
 * In C, since it has to be compiled where there is no Rust for i386. Freestanding: no libc, no headers
 * but the compiler's own, system calls by int 0x80. AGENT_PORT and the other names in capitals that are
 * not defined here are given by build.rs, from the one place that has them.
 */

#include <stddef.h>
#include <stdint.h>

enum {
	SYS_FORK = 2, SYS_READ = 3, SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6, SYS_EXECVE = 11,
	SYS_CHDIR = 12, SYS_MKNOD = 14, SYS_MOUNT = 21, SYS_SYNC = 36, SYS_MKDIR = 39, SYS_IOCTL = 54,
	SYS_PIPE2 = 331, SYS_DUP2 = 63, SYS_SETSID = 66, SYS_REBOOT = 88, SYS_IOPERM = 101, SYS_SYSLOG = 103,
	SYS_WAIT4 = 114, SYS_UNAME = 122, SYS_SCHED_GETAFFINITY = 242, SYS_EXIT_GROUP = 252,
};

enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_NOCTTY = 0400, O_CLOEXEC = 02000000 };
enum { MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8 };
enum { EINTR = 4, S_IFCHR = 0020000, SYSLOG_ACTION_READ_ALL = 3, RESTART = 0x01234567, TIOCSWINSZ = 0x5414 };

static long call(long number, long a, long b, long c, long d, long e)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory");
	return result;
}

#define CALL(number, a, b, c) call(number, (long)(a), (long)(b), (long)(c), 0, 0)

/* The compiler may ask for these two whatever it is told. */
void *memset(void *to, int value, size_t size)
{
	for (char *byte = to; size--; byte++)
		*byte = value;
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((char *)to)[i] = ((const char *)from)[i];
	return to;
}

static size_t length(const char *text)
{
	size_t count = 0;

	while (text[count])
		count++;
	return count;
}

static int starts_with(const char *text, const char *start)
{
	while (*start)
		if (*text++ != *start++)
			return 0;
	return 1;
}

/* Where `words` stand in `text`, behind them; null if nowhere. */
static const char *after(const char *text, const char *words)
{
	for (; *text; text++)
		if (starts_with(text, words))
			return text + length(words);
	return NULL;
}

/* The file as a string, at most `size - 1` bytes of it; its length, or an error below zero. */
static long read_file(const char *path, char *text, size_t size)
{
	long file = CALL(SYS_OPEN, path, O_RDONLY | O_CLOEXEC, 0);
	long count = 0, got = file;

	while (file >= 0 && (got = CALL(SYS_READ, file, text + count, size - 1 - count)) > 0)
		count += got;
	if (file >= 0)
		CALL(SYS_CLOSE, file, 0, 0);
	text[count] = 0;
	return got < 0 ? got : count;
}

/* A line under way. What does not fit is cut off. */
struct line {
	char text[MAX_LINE + 1];
	size_t length;
};

static void add(struct line *line, const char *text)
{
	for (; *text && line->length < MAX_LINE; text++)
		line->text[line->length++] = *text >= ' ' && *text <= '~' ? *text : '?';
}

static void add_number(struct line *line, unsigned int number)
{
	char digits[11] = { 0 };
	char *digit = digits + 10;

	do {
		*--digit = '0' + number % 10;
	} while (number /= 10);
	add(line, digit);
}

static char nonce[MAX_NONCE + 1] = "-";
static int port_answers;

static void write_port(uint16_t port, uint8_t byte)
{
	__asm__ volatile("outb %1, %0" : : "Nd"(port), "a"(byte));
}

static uint8_t read_port(uint16_t port)
{
	uint8_t byte;

	__asm__ volatile("inb %1, %0" : "=a"(byte) : "Nd"(port));
	return byte;
}

/* Sends the report `words`, `more` behind them. */
static void report(const char *words, const char *more)
{
	struct line line = { .length = 0 };

	add(&line, PREFIX);
	add(&line, nonce);
	add(&line, " ");
	add(&line, words);
	add(&line, more);
	line.text[line.length++] = '\n';
	if (port_answers) {
		for (size_t i = 0; i < line.length; i++)
			write_port(AGENT_PORT, line.text[i]);
	} else {
		CALL(SYS_WRITE, 2, "\n", 1);
		CALL(SYS_WRITE, 2, line.text, line.length);
	}
}

static void report_number(const char *words, unsigned int number)
{
	struct line line = { .length = 0 };

	add_number(&line, number);
	line.text[line.length] = 0;
	report(words, line.text);
}

static void restart(void)
{
	CALL(SYS_SYNC, 0, 0, 0);
	CALL(SYS_REBOOT, 0xfee1dead, 0x28121969, RESTART);
	CALL(SYS_EXIT_GROUP, 1, 0, 0);
	__builtin_unreachable();
}

static void fail(const char *what)
{
	report("fail ", what);
	restart();
}

static void mount(const char *kind, const char *target, long flags, const char *options)
{
	/* What the kernel doesn't have is done without. */
	CALL(SYS_MKDIR, target, 0755, 0);
	call(SYS_MOUNT, (long)kind, (long)target, (long)kind, flags, (long)options);
}

static void prepare(void)
{
	long console;

	mount("devtmpfs", "/dev", MS_NOSUID, "mode=755");
	/* A kernel without devtmpfs has /dev/console and /dev/null from the archive. */
	CALL(SYS_MKNOD, "/dev/ttyS0", S_IFCHR | 0600, 4 << 8 | 64);
	CALL(SYS_DUP2, CALL(SYS_OPEN, "/dev/null", O_RDWR, 0), 0, 0);
	console = CALL(SYS_OPEN, "/dev/ttyS0", O_WRONLY | O_NOCTTY, 0);
	if (console < 0)
		console = CALL(SYS_OPEN, "/dev/console", O_WRONLY | O_NOCTTY, 0);
	CALL(SYS_DUP2, console, 1, 0);
	CALL(SYS_DUP2, console, 2, 0);
	mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
	mount("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
	mount("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
	mount("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	mount("devpts", "/dev/pts", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=620,ptmxmode=666");
	mount("debugfs", "/sys/kernel/debug", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
	port_answers = CALL(SYS_IOPERM, AGENT_PORT, 1, 1) == 0 && read_port(AGENT_PORT) == AGENT_PORT_MAGIC;
}

/* Whether the workload has the serial port for its terminal; rows and columns of it, as in winsize. */
static int has_terminal;
static uint16_t window[4];

static const char *number(const char *text, uint16_t *to)
{
	for (*to = 0; *text >= '0' && *text <= '9'; text++)
		*to = *to * 10 + *text - '0';
	return text;
}

/* Learns of the terminal from what stands behind its parameter. */
static void learn_terminal(const char *value)
{
	if (*value == '=')
		value = number(value + 1, window);
	if (*value == 'x')
		value = number(value + 1, window + 1);
	has_terminal |= !*value || *value == ' ' || *value == '\n';
}

/* Takes the last nonce on the command line, and what it says of a terminal. */
static int learn(void)
{
	static char text[4096];
	const char *found = NULL;
	size_t count = 0;

	read_file("/proc/cmdline", text, sizeof(text));
	for (const char *next = text; (next = after(next, " " TERMINAL_PARAMETER)); )
		learn_terminal(next);
	for (const char *next = text; (next = after(next, NONCE_PARAMETER "=")); )
		found = next;
	if (!found)
		return 0;
	while (found[count] > ' ' && found[count] <= '~' && count < MAX_NONCE) {
		nonce[count] = found[count];
		count++;
	}
	nonce[count] = 0;
	return count > 0;
}

static void facts(void)
{
	static char log[256 << 10];
	char names[6][65];
	unsigned long cpus[32] = { 0 };
	unsigned int online = 0;
	const char *locks;

	if (CALL(SYS_SCHED_GETAFFINITY, 0, sizeof(cpus), cpus) > 0) {
		for (size_t cpu = 0; cpu < 8 * sizeof(cpus); cpu++)
			online += cpus[cpu / 32] >> cpu % 32 & 1;
		report_number("fact " FACT_CPUS " ", online);
	}
	if (CALL(SYS_UNAME, names, 0, 0) == 0)
		report("fact " FACT_RELEASE " ", names[2]);
	CALL(SYS_SYSLOG, SYSLOG_ACTION_READ_ALL, log, sizeof(log) - 1);
	if (after(log, "PV qspinlock hash table entries"))
		report("fact " FACT_PV_SPINLOCKS " ", "enabled");
	else if ((locks = after(log, "PV spinlocks ")))
		report("fact " FACT_PV_SPINLOCKS " ", starts_with(locks, "enabled") ? "enabled" : "disabled");
}

/* Becomes the workload, in a child. */
static void become(char **argv, long failed)
{
	static char *environment[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"TERM=linux", NULL
	};
	long serial;
	char error;

	CALL(SYS_IOPERM, AGENT_PORT, 1, 0);
	CALL(SYS_SETSID, 0, 0, 0);
	if (has_terminal && (serial = CALL(SYS_OPEN, "/dev/ttyS0", O_RDWR | O_CLOEXEC, 0)) >= 0) {
		if (window[0] && window[1])
			CALL(SYS_IOCTL, serial, TIOCSWINSZ, window);
		for (int descriptor = 0; descriptor < 3; descriptor++)
			CALL(SYS_DUP2, serial, descriptor, 0);
	}
	CALL(SYS_CHDIR, "/tmp", 0, 0);
	error = -CALL(SYS_EXECVE, argv[0], argv, environment);
	CALL(SYS_WRITE, failed, &error, 1);
	CALL(SYS_EXIT_GROUP, 127, 0, 0);
}

/* Runs the workload, if there is one, and reports its status as a shell would show it. */
static void work(void)
{
	static char block[MAX_BLOCK + 2], *argv[MAX_ARGUMENTS + 1];
	int ends[2], status = 0, count = 0;
	long size = read_file(BLOCK, block, sizeof(block)), child, pid;
	char error;

	if (size < 0 || size > MAX_BLOCK || (size && block[size - 1]))
		fail("can't use " BLOCK);
	for (long at = 0; at < size && count < MAX_ARGUMENTS; at += length(block + at) + 1)
		argv[count++] = block + at;
	if (!count) {
		report_number("exit ", 0);
		return;
	}
	report("start", "");
	if (CALL(SYS_PIPE2, ends, O_CLOEXEC, 0) < 0 || (child = CALL(SYS_FORK, 0, 0, 0)) < 0)
		fail("can't fork");
	if (!child)
		become(argv, ends[1]);
	CALL(SYS_CLOSE, ends[1], 0, 0);
	if (CALL(SYS_READ, ends[0], &error, 1) == 1)
		fail(error == 8 ? "can't execute the workload: it is not a program for i386"
				: "can't execute the workload");
	do
		pid = call(SYS_WAIT4, -1, (long)&status, 0, 0, 0);
	while (pid != child && (pid > 0 || pid == -EINTR));
	if (pid != child)
		fail("can't wait for the workload");
	report_number("exit ", status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
}

__attribute__((force_align_arg_pointer, noreturn)) void _start(void)
{
	prepare();
	if (!learn())
		fail("no " NONCE_PARAMETER " on the command line");
	report("init", "");
	facts();
	work();
	restart();
	__builtin_unreachable();
}

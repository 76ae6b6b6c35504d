// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 OR MIT
/*
 * One bug of each kind, on purpose: `echo KIND > /proc/death`.
 *
 * It is added to a kernel as drivers/misc/death.c, see examples/capture.rs. Each kind is a function of
 * its own, which is what a report of it is to blame on. Its name is one that a driver's function could
 * have: what is called after a checker, a lock or a helper is taken for one.
 */
#include <linux/bug.h>
#include <linux/debugobjects.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/kfence.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

struct victim {
	struct list_head list;
	struct timer_list timer;
	struct work_struct work;
	struct rcu_head rcu;
	struct mutex mutex;
	spinlock_t spin;
	u32 data[12];
};

/* What the compiler can't know. */
static volatile unsigned long zero;
static volatile unsigned long hundred = 100;
static volatile int sink;
static char global[32];

static noinline struct victim *victim(void)
{
	struct victim *v = kzalloc(sizeof(*v), GFP_KERNEL);

	INIT_LIST_HEAD(&v->list);
	mutex_init(&v->mutex);
	spin_lock_init(&v->spin);
	return v;
}

/* Memory errors. */

static noinline void death_heap_read(void)
{
	char *p = kmalloc(hundred, GFP_KERNEL);

	sink = p[hundred + 5];
	kfree(p);
}

static noinline void death_heap_write(void)
{
	char *p = kmalloc(hundred, GFP_KERNEL);

	p[hundred + zero] = 1;
	kfree(p);
}

static noinline void death_uaf_read(void)
{
	struct victim *v = victim();

	kfree(v);
	sink = READ_ONCE(v->data[3]);
}

static noinline void death_uaf_write(void)
{
	struct victim *v = victim();

	kfree(v);
	WRITE_ONCE(v->data[3], 1);
}

static void forget(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct victim, rcu));
}

static noinline void death_uaf_rcu(void)
{
	struct victim *v = victim();

	call_rcu(&v->rcu, forget);
	rcu_barrier();
	sink = READ_ONCE(v->data[1]);
}

static void use_in_work(struct work_struct *work)
{
	struct victim *v = container_of(work, struct victim, work);

	kfree(v->list.next);
	v->data[0] = *(volatile u32 *)v->list.next;
}

static noinline void death_uaf_work(void)
{
	struct victim *v = victim();

	v->list.next = kzalloc(64, GFP_KERNEL);
	INIT_WORK(&v->work, use_in_work);
	schedule_work(&v->work);
	flush_work(&v->work);
}

static noinline void death_double_free(void)
{
	char *p = kmalloc(hundred, GFP_KERNEL);

	kfree(p);
	kfree((char *)p + zero);
}

static noinline void death_invalid_free(void)
{
	char *p = kmalloc(hundred, GFP_KERNEL);

	kfree(p + 8 + zero);
}

static noinline void death_stack_read(void)
{
	volatile char buffer[16] = "on the stack";

	OPTIMIZER_HIDE_VAR(hundred);
	sink = buffer[sizeof(buffer) + zero];
}

static noinline void death_global_read(void)
{
	sink = ((volatile char *)global)[sizeof(global) + 3 + zero];
}

static noinline void death_area_read(void)
{
	char *p = vmalloc(PAGE_SIZE - 40);

	sink = ((volatile char *)p)[PAGE_SIZE - 40 + zero];
	vfree(p);
}

static noinline void death_copy_out(void)
{
	char *p = kmalloc(hundred, GFP_KERNEL);

	memcpy(p, global, hundred + 24);
	kfree(p);
}

static noinline void death_user_access(void)
{
	sink = *(volatile char *)(0x40000000 + zero);
}

static noinline void death_wild_access(void)
{
	sink = *(volatile char *)(0x1234567890123456 + zero);
}

static noinline void death_null_read(void)
{
	struct victim *v = (struct victim *)zero;

	sink = READ_ONCE(v->data[2]);
}

static noinline void death_null_write(void)
{
	struct victim *v = (struct victim *)zero;

	WRITE_ONCE(v->data[2], 1);
}

static noinline void death_null_call(void)
{
	void (*f)(void) = (void (*)(void))zero;

	f();
	sink = 1;
}

static noinline void death_page_fault(void)
{
	sink = *(volatile char *)(0xffffffffdead0000 + zero);
}

static noinline void death_rodata_write(void)
{
	*(volatile char *)((unsigned long)linux_banner + zero) = 'x';
}

/* KFENCE guards one allocation in a while. */
static noinline char *guarded(void)
{
	int i;

	for (i = 0; i < 2000; i++) {
		char *p = kmalloc(32, GFP_KERNEL);

		if (is_kfence_address(p))
			return p;
		kfree(p);
		usleep_range(500, 600);
	}
	pr_err("death: KFENCE guards nothing\n");
	return NULL;
}

static noinline void death_guarded_uaf(void)
{
	char *p = guarded();

	kfree(p);
	sink = READ_ONCE(p[5]);
}

static noinline void death_guarded_read(void)
{
	char *p = guarded();

	/* The object lies at either end of its page. */
	if (offset_in_page(p))
		sink = READ_ONCE(p[32]);
	else
		sink = READ_ONCE(p[-1]);
	kfree(p);
}

static noinline void death_guarded_free(void)
{
	char *p = guarded();

	kfree(p + 1 + zero);
}

static noinline void death_guarded_write(void)
{
	char *p = guarded();

	/* Into the canary on the side where the guard page is not. */
	if (offset_in_page(p))
		WRITE_ONCE(p[-1], 42);
	else
		WRITE_ONCE(p[32], 42);
	kfree(p);
}

static noinline void death_redzone(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	p[64 + zero] = 'x';
	kfree(p);
}

static noinline void death_poison(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	p[16 + zero] = 'x';
	p = kmalloc(64, GFP_KERNEL);
}

static noinline void death_leak(void)
{
	char *p = kmalloc(hundred, GFP_KERNEL);

	sprintf(p, "forgotten");
}

static noinline void death_append(void)
{
	struct victim *head = victim(), *a = victim(), *b = victim();

	list_add(&a->list, &head->list);
	head->list.next = &b->list;
	list_add(&b->list, &head->list);
}

static noinline void death_unlink(void)
{
	struct victim *head = victim(), *a = victim();

	list_add(&a->list, &head->list);
	list_del(&a->list);
	list_del(&a->list);
}

static noinline void death_copy_too_much(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	sink = copy_to_user((void __user *)current->mm->start_stack, p, 64 + hundred);
}

static noinline void death_fortify(void)
{
	struct victim *v = victim();

	memcpy(v->data, global, sizeof(v->data) + hundred);
}

static noinline void death_stack_smash(void)
{
	char buffer[16];
	int i;

	for (i = 0; i < hundred; i++)
		((volatile char *)buffer)[i] = 0x5a;
}

static noinline int death_stack_overflow(void)
{
	volatile char buffer[512];

	buffer[zero] = 1;
	if (hundred)
		sink = death_stack_overflow();
	return buffer[zero];
}

/* Undefined behaviour. */

static noinline void death_table_index(void)
{
	static int table[4];

	sink = table[hundred % 7 + 3 + zero];
}

static noinline void death_shift(void)
{
	sink = 1 << (hundred - 60 + zero);
}

static noinline void death_truth(void)
{
	static volatile unsigned char seven = 7;

	sink = *(volatile bool *)&seven ? 1 : 2;
}

static noinline void death_divide(void)
{
	sink = hundred / zero;
}

/* Reference counts. */

static noinline void death_count_below(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	if (refcount_sub_and_test(1, &count))
		sink = 1;
}

static noinline void death_count_raise(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static noinline void death_count_saturate(void)
{
	refcount_t count = REFCOUNT_INIT(INT_MAX);

	refcount_inc(&count);
}

static noinline void death_count_leak(void)
{
	refcount_t count = REFCOUNT_INIT(1);

	refcount_dec(&count);
}

/* Locking. */

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);
static DEFINE_RAW_SPINLOCK(raw);
static DEFINE_RAW_SPINLOCK(outer);
static void __rcu *protected;

static noinline void take_forward(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
}

static noinline void death_other_order(void)
{
	take_forward();
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static noinline void death_take_both(void)
{
	struct victim *a = victim(), *b = victim();

	mutex_lock(&a->mutex);
	mutex_lock(&b->mutex);
	mutex_unlock(&b->mutex);
	mutex_unlock(&a->mutex);
}

static enum hrtimer_restart take_in_interrupt(struct hrtimer *timer)
{
	raw_spin_lock(&raw);
	raw_spin_unlock(&raw);
	return HRTIMER_NORESTART;
}

static noinline void in_interrupt_soon(enum hrtimer_restart (*what)(struct hrtimer *))
{
	static struct hrtimer timer;

	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	timer.function = what;
	hrtimer_start(&timer, ms_to_ktime(1), HRTIMER_MODE_REL_HARD);
	msleep(50);
}

static noinline void death_take_open(void)
{
	in_interrupt_soon(take_in_interrupt);
	raw_spin_lock(&raw);
	raw_spin_unlock(&raw);
}

static noinline void death_invert(void)
{
	unsigned long flags;

	in_interrupt_soon(take_in_interrupt);
	/* `outer` is taken with interrupts on, and then within `raw`. */
	raw_spin_lock(&outer);
	raw_spin_unlock(&outer);
	raw_spin_lock_irqsave(&raw, flags);
	raw_spin_lock(&outer);
	raw_spin_unlock(&outer);
	raw_spin_unlock_irqrestore(&raw, flags);
}

static noinline void death_take_inner(void)
{
	raw_spin_lock(&raw);
	spin_lock(&spin);
	spin_unlock(&spin);
	raw_spin_unlock(&raw);
}

static noinline void death_take_unprepared(void)
{
	spinlock_t *lock = kzalloc(sizeof(*lock), GFP_KERNEL);

	spin_lock(lock);
	spin_unlock(lock);
}

static noinline void death_let_go(void)
{
	mutex_unlock(&first);
}

static noinline void death_spin_magic(void)
{
	spinlock_t *lock = &victim()->spin;

#ifdef CONFIG_DEBUG_SPINLOCK
	lock->rlock.magic = 0;
#endif
	spin_lock(lock);
}

static noinline void death_drop_held(void)
{
	struct victim *v = victim();

	mutex_lock(&v->mutex);
	kfree(v);
}

static noinline void death_keep(void)
{
	mutex_lock(&first);
}

static int exit_with_lock(void *unused)
{
	mutex_lock(&first);
	return 0;
}

static noinline void death_exit_holding(void)
{
	kthread_run(exit_with_lock, NULL, "careless");
	msleep(200);
}

static void keep_lock(struct work_struct *work)
{
	preempt_disable();
}

static noinline void death_work_atomic(void)
{
	struct victim *v = victim();

	INIT_WORK(&v->work, keep_lock);
	schedule_work(&v->work);
	msleep(200);
}

static noinline void death_peek(void)
{
	sink = rcu_dereference(protected) != NULL;
}

static noinline void death_sleep_reading(void)
{
	rcu_read_lock();
	msleep(10);
	rcu_read_unlock();
}

static noinline void death_drop_armed(void)
{
	struct victim *v = victim();

	timer_setup(&v->timer, NULL, 0);
	v->timer.function = (void *)death_peek;
	mod_timer(&v->timer, jiffies + 100 * HZ);
	kfree(v);
}

static noinline void death_arm_twice(void)
{
	struct victim *v = victim();

	timer_setup(&v->timer, NULL, 0);
	v->timer.function = (void *)death_peek;
	mod_timer(&v->timer, jiffies + 100 * HZ);
	timer_setup(&v->timer, NULL, 0);
}

/* Where sleeping is forbidden. */

static noinline void death_atomic_sleep(void)
{
	spin_lock(&spin);
	mutex_lock(&first);
	mutex_unlock(&first);
	spin_unlock(&spin);
}

static noinline void death_atomic_schedule(void)
{
	preempt_disable();
	schedule();
	preempt_enable();
}

static noinline void death_preemptible(void)
{
	sink = smp_processor_id();
}

static noinline void death_task_state(void)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	mutex_lock(&first);
	mutex_unlock(&first);
	__set_current_state(TASK_RUNNING);
}

/* Hangs. */

static noinline void death_spin_reading(void)
{
	struct victim *v = victim();

	/* Nobody minds a long reader unless somebody waits for it. */
	call_rcu(&v->rcu, forget);
	rcu_read_lock();
	while (!zero)
		cpu_relax();
	rcu_read_unlock();
}

static noinline void death_spin_busy(void)
{
	preempt_disable();
	while (!zero)
		cpu_relax();
	preempt_enable();
}

static int sleep_for_ever(void *unused)
{
	mutex_lock(&first);
	mutex_lock(&second);
	return 0;
}

static noinline void death_hung_task(void)
{
	mutex_lock(&second);
	kthread_run(sleep_for_ever, NULL, "sleeper");
	while (!zero)
		msleep(100);
}

static void spin_in_work(struct work_struct *work)
{
	while (!zero)
		cpu_relax();
}

static void nothing(struct work_struct *work)
{
}

static noinline void death_spin_worker(void)
{
	struct victim *a = victim(), *b = victim();

	INIT_WORK(&a->work, spin_in_work);
	INIT_WORK(&b->work, nothing);
	schedule_work_on(0, &a->work);
	schedule_work_on(0, &b->work);
	while (!zero)
		msleep(100);
}

/* Deaths proper. */

static noinline void death_bug(void)
{
	BUG_ON(!zero);
}

static noinline void death_warn(void)
{
	WARN_ON(!zero);
}

static noinline void death_warn_text(void)
{
	WARN(!zero, "victim %lu is not what it was\n", hundred);
}

static enum hrtimer_restart oops_in_interrupt(struct hrtimer *timer)
{
	WRITE_ONCE(((struct victim *)zero)->data[2], 1);
	return HRTIMER_NORESTART;
}

static noinline void death_irq_oops(void)
{
	in_interrupt_soon(oops_in_interrupt);
}

static void oops_on_call(void *unused)
{
	sink = READ_ONCE(((struct victim *)zero)->data[2]);
}

static noinline void death_ipi_oops(void)
{
	on_each_cpu(oops_on_call, NULL, 1);
}

static noinline void death_undefined(void)
{
	asm volatile(".byte 0x0f, 0xff");
}

static noinline void death_int3(void)
{
	asm volatile("int3");
}

static noinline void death_lose_stack(void)
{
	/* Neither the stack nor a stack for the page fault that follows is there. */
	asm volatile("xor %%eax, %%eax\n\tmov %%rax, %%rsp\n\tpush %%rax" : : : "rax", "memory");
}

static noinline void death_give_up(void)
{
	panic("victim %lu is beyond repair", hundred);
}

/*
 * Kinds that are not about locks die unseen by lockdep: the serial console's lock would be a bug of
 * its own wherever a report is printed with a raw lock held.
 */
static const struct {
	const char *name;
	void (*run)(void);
	bool locks;
} kinds[] = {
#define KIND(name, run) { #name, (void (*)(void))death_##run, false }
#define LOCK(name, run) { #name, (void (*)(void))death_##run, true }
	KIND(heap_read, heap_read), KIND(heap_write, heap_write), KIND(uaf_read, uaf_read),
	KIND(uaf_write, uaf_write), KIND(uaf_rcu, uaf_rcu), KIND(uaf_work, uaf_work),
	KIND(double_free, double_free), KIND(invalid_free, invalid_free),
	KIND(stack_read, stack_read), KIND(global_read, global_read),
	KIND(vmalloc_read, area_read), KIND(copy_out, copy_out), KIND(user_access, user_access),
	KIND(wild_access, wild_access), KIND(null_read, null_read), KIND(null_write, null_write),
	KIND(null_call, null_call), KIND(page_fault, page_fault),
	KIND(rodata_write, rodata_write), KIND(kfence_uaf, guarded_uaf),
	KIND(kfence_read, guarded_read), KIND(kfence_invalid_free, guarded_free),
	KIND(kfence_corruption, guarded_write), KIND(slab_redzone, redzone),
	KIND(slab_poison, poison), KIND(leak, leak),
	KIND(list_add, append), KIND(list_del, unlink), KIND(usercopy, copy_too_much),
	KIND(fortify, fortify), KIND(stack_smash, stack_smash),
	KIND(stack_overflow, stack_overflow), KIND(ubsan_bounds, table_index),
	KIND(ubsan_shift, shift), KIND(ubsan_bool, truth), KIND(divide, divide),
	KIND(refcount_underflow, count_below), KIND(refcount_raised, count_raise),
	KIND(refcount_saturated, count_saturate), KIND(refcount_leak, count_leak),
	KIND(spin_magic, spin_magic), KIND(odebug_free, drop_armed),
	KIND(odebug_init, arm_twice), KIND(atomic_schedule, atomic_schedule),
	KIND(preemptible, preemptible), KIND(rcu_stall, spin_reading),
	KIND(soft_lockup, spin_busy), KIND(workqueue_lockup, spin_worker), KIND(bug, bug),
	KIND(warn, warn), KIND(warn_text, warn_text),
	KIND(irq_oops, irq_oops), KIND(ipi_oops, ipi_oops), KIND(invalid_opcode, undefined),
	KIND(int3, int3), KIND(double_fault, lose_stack), KIND(panic, give_up),
	LOCK(lockdep_circular, other_order), LOCK(lockdep_recursive, take_both),
	LOCK(lockdep_irq, take_open), LOCK(lockdep_inversion, invert),
	LOCK(lockdep_wait_context, take_inner), LOCK(lockdep_key, take_unprepared),
	LOCK(unlock_balance, let_go), LOCK(held_freed, drop_held), LOCK(held_return, keep),
	LOCK(held_exit, exit_holding), LOCK(work_atomic, work_atomic), LOCK(rcu_usage, peek),
	LOCK(rcu_sleep, sleep_reading), LOCK(atomic_sleep, atomic_sleep),
	LOCK(task_state, task_state), LOCK(hung_task, hung_task),
};

static ssize_t death_write(struct file *file, const char __user *text, size_t size, loff_t *at)
{
	char name[32] = "";
	int i;

	if (copy_from_user(name, text, min(size, sizeof(name) - 1)))
		return -EFAULT;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (sysfs_streq(name, kinds[i].name)) {
			if (!kinds[i].locks)
				lockdep_off();
			kinds[i].run();
			if (!kinds[i].locks)
				lockdep_on();
			return size;
		}
	}
	return -EINVAL;
}

static const struct proc_ops death_ops = { .proc_write = death_write };

static int __init death_init(void)
{
	return proc_create("death", 0200, NULL, &death_ops) ? 0 : -ENOMEM;
}
late_initcall(death_init);

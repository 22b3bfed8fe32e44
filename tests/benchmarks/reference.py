"""What would a user write without this suite? The plain training script of the report's recipe, every bar's reference.

    python -m tests.benchmarks.reference DATA --model resnet50 --epochs 1     DATA has train/ and val/, a folder a class

Per-image PIL transforms in a DataLoader with as many workers as cores, float32, contiguous memory, Adam as it comes,
`.item()` on the loss at each step. Nothing here is tuned, and nothing here uses the suite.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

SIZE = 224


def train_transform(size: int = SIZE) -> transforms.Compose:
    """The report's recipe on one PIL image: resize, augment, (3, H, W) in [0, 1]."""
    return transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomRotation(50),
            transforms.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            transforms.RandomAdjustSharpness(2),
            transforms.ToTensor(),
        ]
    )


def train_loader(folder: Path, batch_size: int, num_workers: int, size: int = SIZE) -> DataLoader:
    """Shuffled training batches (N, 3, H, W) in [0, 1], augmented by the report's recipe."""
    dataset = ImageFolder(str(folder), train_transform(size))
    pinned = torch.cuda.is_available()
    return DataLoader(dataset, batch_size, shuffle=True, num_workers=num_workers, pin_memory=pinned)


def val_loader(folder: Path, batch_size: int, num_workers: int, size: int = SIZE) -> DataLoader:
    """Validation batches (N, 3, H, W) in [0, 1]."""
    transform = transforms.Compose([transforms.Resize((size, size)), transforms.ToTensor()])
    return DataLoader(ImageFolder(str(folder), transform), batch_size, num_workers=num_workers)


def make_model(name: str, num_classes: int, device: torch.device) -> nn.Module:
    """A torchvision network with random weights, its classifier replaced by dropout and a linear layer."""
    model = models.get_model(name, weights=None)
    model.fc = nn.Sequential(nn.Dropout(0.7), nn.Linear(model.fc.in_features, num_classes))
    return model.to(device)


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Adam at the report's learning rate."""
    return torch.optim.Adam(model.parameters(), lr=3e-5)


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor, device: torch.device
) -> float:
    """One step on one batch; gives the loss, which waits for the device."""
    images, labels = images.to(device), labels.to(device)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    return loss.item()


def evaluate(model: nn.Module, loader: DataLoader, device: torch.device) -> float:
    """The share of images that are classified rightly."""
    model.eval()
    num_right = num_images = 0
    with torch.no_grad():
        for images, labels in loader:
            predicted = model(images.to(device)).argmax(dim=1)
            num_right += (predicted == labels.to(device)).sum().item()
            num_images += len(labels)
    return num_right / num_images


def train(folder: Path, *, model: str, epochs: int, batch_size: int, device: torch.device, num_workers: int) -> None:
    """Train and keep the weights of the best validation epoch, printing each epoch's line."""
    training = train_loader(folder / "train", batch_size, num_workers)
    validation = val_loader(folder / "val", batch_size, num_workers)
    network = make_model(model, len(training.dataset.classes), device)  # type: ignore[attr-defined]
    optimizer = make_optimizer(network)
    best = -1.0
    for epoch in range(epochs):
        start = time.perf_counter()
        network.train()
        losses = [train_step(network, optimizer, images, labels, device) for images, labels in training]
        accuracy = evaluate(network, validation, device)
        if accuracy > best:
            best = accuracy
            torch.save(network.state_dict(), "reference-best.pth")
        seconds = time.perf_counter() - start
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, accuracy {accuracy:.4f}, {seconds:.1f} s")


def main() -> None:
    """The script's command line."""
    parser = argparse.ArgumentParser(description="Plain training script, the reference of the benchmarks.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    train(
        given.data,
        model=given.model,
        epochs=given.epochs,
        batch_size=given.batch_size,
        device=torch.device(given.device),
        num_workers=given.workers,
    )


if __name__ == "__main__":
    main()
